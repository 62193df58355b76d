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

/// Tile must offer: kColumns, Panel, Meta, and
///   template <int C> static void chunk(const Panel&, int groups, const ChunkX<Meta>&, float* tile)
/// which adds one chunk of C columns to tile [C][Panel::kRows].
///
/// Packer::pack<F>(args, {first row, chunk}, groups, {row, chunk} of a later panel, panel) fills a panel and fetches
/// what the later one is made of, bit by bit: a core waits once too many lines are on their way.
template <class F, class Tile, class Packer>
void gemm(const ProductArgs& args) noexcept {
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
      // The next rows follow the last chunk.
      const std::size_t next = chunk + kPanelsAhead;
      const PanelAt ahead = next < chunks ? PanelAt{row, next} : PanelAt{row + kRows, next - chunks};
      Packer::template pack<F>(args, {row, chunk}, groups, ahead, panel);
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
