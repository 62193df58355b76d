// Many activation rows: panels of 16 weight rows, K outermost, all of m against one panel chunk; and the
// product kernels of the integer precisions, GEMV below a certain m, GEMM from there on.
//
// The tile of results [m][16] f32 is the only thing carried from chunk to chunk; what happens between two
// chunks is the canonical chain of f32 steps, the same as in the GEMV.
#pragma once

#include <cstring>

#include "cpu/kernels/arm/gemv.hpp"
#include "cpu/kernels/arm/tile.hpp"
#include "cpu/kernels/specs.hpp"

namespace quantlinear::cpu {
namespace {

/// What gemm keeps in the scratch memory of a call; the results [m][16] follow.
struct GemmScratch {
  Panel panel;
  /// a16: four columns of a chunk as bytes h and l (tile.hpp)
  alignas(64) std::int8_t split[4][2][kChunk];
};

/// a16 values of one chunk and column, in their order, to bytes in the order of k: a = 256 h + l + 128.
inline void split_bytes(const std::int16_t* a, std::size_t count, std::int8_t (&out)[2][kChunk]) {
  const int8x16_t flip = vdupq_n_s8(-128);
  for (std::size_t k = 0; k < count; k += 32) {
    int8x16_t v[4];  // 0..7, 16..23, 8..15, 24..31
    for (int i = 0; i < 4; ++i) v[i] = vreinterpretq_s8_s16(vld1q_s16(a + k + 8 * static_cast<std::size_t>(i)));
    for (std::size_t half = 0; half < 2; ++half) {
      vst1q_s8(out[0] + k + 16 * half, vuzp2q_s8(v[half], v[half + 2]));
      vst1q_s8(out[1] + k + 16 * half, veorq_s8(vuzp1q_s8(v[half], v[half + 2]), flip));
    }
  }
}

template <class F, class Tile, class Meta>
void gemm(const ProductArgs& args) noexcept {
  constexpr bool kA16 = std::is_same_v<Meta, A16Meta>;
  using Chunk = ChunkTile<F, Tile, Meta>;
  GemmScratch& scratch = *reinterpret_cast<GemmScratch*>(args.scratch);
  float* tile = reinterpret_cast<float*>(args.scratch + sizeof(GemmScratch));
  const std::size_t m = args.x.m;
  for (std::size_t row = args.row_begin; row < args.row_end; row += kPanelRows) {
    std::memset(tile, 0, m * kPanelRows * sizeof(float));
    const std::size_t rows = args.row_end - row < kPanelRows ? args.row_end - row : kPanelRows;
    for (std::size_t chunk = 0; chunk < chunks_of(args.in_features); ++chunk) {
      const std::size_t left = (args.in_features - chunk * kChunk) / 32;
      const std::size_t groups = left < 8 ? left : 8;
      pack_panel<F, Tile::kStep, kA16>(args, row, chunk, static_cast<int>(groups), scratch.panel);
      const auto columns = [&]<int C>(std::size_t c0) {
        Columns<Meta, C> x;
        float results[C * kPanelRows];
        const std::size_t count = m - c0 < C ? m - c0 : C;
        for (std::size_t c = 0; c < C; ++c) {
          const ChunkX<Meta> column(args.x, chunk, c0 + (c < count ? c : count - 1));
          x.meta[c] = column.meta;
          if constexpr (kA16) {
            if (c < count) split_bytes(column.q, 32 * groups, scratch.split[c]);
            x.x[c] = scratch.split[c < count ? c : count - 1][0];
          } else {
            x.x[c] = column.q;
          }
        }
        float* out = tile + c0 * kPanelRows;
        if (count < C) std::memcpy(results, out, count * kPanelRows * sizeof(float));
        float* into = count < C ? results : out;
        for (std::size_t r = 0; r < rows; r += 8) {
          if constexpr (F::kFamily == Family::super_block) {
            Chunk::template super_block<C>(scratch.panel.half[r / 8], x, into + r);
          } else {
            Chunk::template small_blocks<C>(scratch.panel.half[r / 8], groups, x, into + r);
          }
        }
        if (count < C) std::memcpy(out, results, count * kPanelRows * sizeof(float));
      };
      std::size_t c = 0;
      for (; c + 2 < m; c += 4) columns.template operator()<4>(c);  // three or more are left
      if (c < m) columns.template operator()<2>(c);
    }
    store_tile(args, row, rows, tile);
  }
}

template <class F, class Tile, Precision P>
constexpr ProductKernel integer_product() {
  using Meta = std::conditional_t<P == Precision::a8, A8Meta, A16Meta>;
  return {
      [](std::size_t) { return activation_spec<F, P>(); },
      [](const ProductArgs& args) noexcept { args.x.m < kGemmFrom ? gemv<F, Meta>(args) : gemm<F, Tile, Meta>(args); },
      [](std::size_t m, std::size_t) -> std::size_t {
        return m < kGemmFrom ? 0 : sizeof(GemmScratch) + m * kPanelRows * sizeof(float);
      },
      [](std::size_t m) -> KernelDescription {
        if (m < kGemmFrom) return {"gemv", "blocks read in place, 4 rows at a time", 4, kGemmFrom - 1};
        return {"gemm", "8-bit panels of 16 rows x 256", 8, 4};
      }};
}

}  // namespace
}  // namespace quantlinear::cpu
