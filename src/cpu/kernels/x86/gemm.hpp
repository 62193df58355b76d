// Many activation rows: panels of 16 or 32 weight rows, K outermost, all of m against one panel chunk.
//
// The tile of results [m][rows] f32 is the only thing carried from chunk to chunk; what happens
// between two chunks is the canonical chain of f32 steps, the same as in the GEMV.
#pragma once

#include "cpu/kernels/x86/gemv.hpp"
#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

/// How many panels ahead weights are fetched: one is too late with few columns.
inline constexpr std::size_t kPanelsAhead = 2;

/// Fetches what a later panel is made of, while this one is multiplied: chunk `chunk` of the rows from `row` on, or a
/// first chunk of the rows after them.
template <class F, std::size_t Rows>
[[gnu::always_inline]] inline void prefetch_panel(const ProductArgs& args, std::size_t row, std::size_t chunk,
                                                  std::size_t chunks) {
  constexpr std::size_t kChunkBytes = kChunk / F::kBlockElements * F::kBlockBytes;
  if (chunk >= chunks) row += Rows, chunk -= chunks;
  const std::uint8_t* p = args.weights + row * args.row_bytes + chunk * kChunkBytes;
  for (std::size_t r = 0; r < Rows; ++r) prefetch<static_cast<int>(kChunkBytes)>(p + r * args.row_bytes);
}

/// Tile must offer: kColumns, Panel, Meta, and
///   template <int C> static void chunk(const Panel&, int groups, const ChunkX<Meta>&, float* tile)
/// which adds one chunk of C columns to tile [C][Panel::kRows].
///
/// pack(args, first row, chunk, groups, panel) fills a panel (pack_panel).
template <class F, class Tile>
void gemm(const ProductArgs& args, auto pack) noexcept {
  using Panel = typename Tile::Panel;
  constexpr std::size_t kRows = Panel::kRows;
  Panel& panel = *reinterpret_cast<Panel*>(args.scratch);
  float* tile = reinterpret_cast<float*>(args.scratch + sizeof(Panel));
  const std::size_t chunks = chunks_of(args.in_features);
  const std::size_t m = args.x.m;
  for (std::size_t row = args.row_begin; row < args.row_end; row += kRows) {
    std::memset(tile, 0, m * kRows * sizeof(float));
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      const std::size_t left = (args.in_features - chunk * kChunk) / 32;
      const int groups = left < 8 ? static_cast<int>(left) : 8;
      pack(args, row, chunk, groups, panel);
      prefetch_panel<F, kRows>(args, row, chunk + kPanelsAhead, chunks);
      std::size_t c = 0;
      const auto step = [&]<int C>() {
        Tile::template chunk<C>(panel, groups, ChunkX<typename Tile::Meta>(args.x, chunk, c), tile + c * kRows);
        c += C;
      };
      while (c + Tile::kColumns <= m) step.template operator()<Tile::kColumns>();
      if constexpr (Tile::kColumns > 4) {
        while (c + 4 <= m) step.template operator()<4>();
      }
      while (c + 2 <= m) step.template operator()<2>();
      if (c < m) step.template operator()<1>();
    }
    const std::size_t rows = args.row_end - row < kRows ? args.row_end - row : kRows;
    for (std::size_t c = 0; c < m; ++c) {
      for (std::size_t r = 0; r < rows; r += 8) {
        store_rows(args, row + r, 0, rows - r < 8 ? rows - r : 8, c, _mm256_loadu_ps(tile + c * kRows + r));
      }
    }
  }
}

template <class Panel>
std::size_t gemm_scratch(std::size_t m) {
  return sizeof(Panel) + m * Panel::kRows * sizeof(float);
}

}  // namespace
}  // namespace quantlinear::cpu
