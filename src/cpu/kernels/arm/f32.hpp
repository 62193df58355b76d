// Precision f32 on NEON: exact weights times the caller's own activations.
//
// Canonical order (docs/numerics.md): within a chunk of 256, lane l adds the products k = l, l+8, ...
// by fused multiply-add; the eight lanes (two registers here) are added as a tree; the chunks are added
// in order. With lanes along k neither side needs a transposition, in GEMV and GEMM alike.
#pragma once

#include "cpu/kernels/arm/decode.hpp"

namespace quantlinear::cpu {
namespace {

inline constexpr std::size_t kF32PanelRows = 16;
/// From this m on, decoding once into a panel beats decoding for every two columns.
inline constexpr std::size_t kF32GemmFrom = 3;

inline const float* f32_values(const Activations& x, std::size_t chunk, std::size_t column) {
  return static_cast<const float*>(x.values) + (chunk * x.m + column) * kChunk;
}

/// Lanes 0..3 in [0], 4..7 in [1].
using Lanes8 = float32x4_t[2];

/// The canonical sums of the eight lanes of four rows: ((l0+l1)+(l2+l3)) + ((l4+l5)+(l6+l7)).
[[gnu::always_inline]] inline float32x4_t lane_sums4(const Lanes8& a, const Lanes8& b, const Lanes8& c,
                                                     const Lanes8& d) {
  const float32x4_t low = vpaddq_f32(vpaddq_f32(a[0], b[0]), vpaddq_f32(c[0], d[0]));
  const float32x4_t high = vpaddq_f32(vpaddq_f32(a[1], b[1]), vpaddq_f32(c[1], d[1]));
  return vaddq_f32(low, high);
}

/// Four rows, C columns, decoded in registers.
template <class F, int C>
[[gnu::noinline]] void gemv_f32_rows(const ProductArgs& args, const Rows4& rows, float32x4_t (&acc)[C]) {
  for (std::size_t k = 0; k < args.in_features; k += kChunk) {
    const std::size_t count = args.in_features - k < kChunk ? args.in_features - k : kChunk;
    const std::size_t at = k / F::kBlockElements * F::kBlockBytes;
    const float* x = f32_values(args.x, k / kChunk, 0);
    Lanes8 sums[C][4];
#pragma GCC unroll 1
    for (int i = 0; i < 4; ++i) {
      Lanes8 s[C];
      for (int c = 0; c < C; ++c) s[c][0] = s[c][1] = vdupq_n_f32(0.0f);
      for_each_group<F>(rows.row[i] + at, count, [&](std::size_t g, const Floats32& w) {
        fence();
        unroll<8>([&]<int J>() {
          for (int c = 0; c < C; ++c) {
            const float* column = x + static_cast<std::size_t>(c) * kChunk + 32 * g;
            s[c][J % 2] = vfmaq_f32(s[c][J % 2], w.v[J], vld1q_f32(column + 4 * J));
          }
        });
      });
      for (int c = 0; c < C; ++c) {
        sums[c][i][0] = s[c][0];
        sums[c][i][1] = s[c][1];
      }
    }
    for (int c = 0; c < C; ++c) {
      acc[c] = vaddq_f32(acc[c], lane_sums4(sums[c][0], sums[c][1], sums[c][2], sums[c][3]));
    }
  }
}

/// Rows 0..3 of the panel [row][256] against C columns of a chunk, added to the results [column][16].
/// 4 rows x 3 columns x 2 are 24 accumulators of 32 registers, with 14 loads for 24 multiply-adds.
template <int C>
[[gnu::noinline]] void f32_tile(const float* panel, const float* x, std::size_t count, float* results) {
  Lanes8 s[4][C];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) s[r][c][0] = s[r][c][1] = vdupq_n_f32(0.0f);
  }
#pragma GCC unroll 1
  for (std::size_t k = 0; k < count; k += 8) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      fence();
      float32x4_t xv[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) xv[c] = vld1q_f32(x + static_cast<std::size_t>(c) * kChunk + k + 4 * half);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        const float32x4_t w = vld1q_f32(panel + static_cast<std::size_t>(r) * kChunk + k + 4 * half);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) s[r][c][half] = vfmaq_f32(s[r][c][half], w, xv[c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    float* t = results + kF32PanelRows * static_cast<std::size_t>(c);
    vst1q_f32(t, vaddq_f32(vld1q_f32(t), lane_sums4(s[0][c], s[1][c], s[2][c], s[3][c])));
  }
}

template <class F>
void gemm_f32(const ProductArgs& args) noexcept {
  const std::size_t m = args.x.m;
  float* panel = reinterpret_cast<float*>(args.scratch);
  float* tile = panel + kF32PanelRows * kChunk;
  for (std::size_t row = args.row_begin; row < args.row_end; row += kF32PanelRows) {
    const std::size_t rows = args.row_end - row < kF32PanelRows ? args.row_end - row : kF32PanelRows;
    std::memset(tile, 0, m * kF32PanelRows * sizeof(float));
    for (std::size_t k = 0; k < args.in_features; k += kChunk) {
      const std::size_t count = args.in_features - k < kChunk ? args.in_features - k : kChunk;
      const std::uint8_t* block = args.weights + row * args.row_bytes + k / F::kBlockElements * F::kBlockBytes;
      for (std::size_t r = 0; r < rows; ++r) {
        for_each_group<F>(block + r * args.row_bytes, count,
                          [&](std::size_t g, const Floats32& w) { store32(panel + r * kChunk + 32 * g, w); });
      }
      const std::size_t padded = (count + 7) / 8 * 8;
      std::size_t c = 0;
      const auto columns = [&]<int C>() {
        const float* x = f32_values(args.x, k / kChunk, c);
        for (std::size_t r = 0; r < rows; r += 4) {
          f32_tile<C>(panel + r * kChunk, x, padded, tile + c * kF32PanelRows + r);
        }
        c += C;
      };
      while (c + 3 <= m) columns.template operator()<3>();
      if (c + 2 <= m) columns.template operator()<2>();
      if (c < m) columns.template operator()<1>();
    }
    store_tile(args, row, rows, tile);
  }
}

template <class F>
void product_f32(const ProductArgs& args) noexcept {
  if (args.x.m >= kF32GemmFrom) return gemm_f32<F>(args);
  for (std::size_t row = args.row_begin; row < args.row_end; row += 4) {
    const Rows4 rows(args.weights, args.row_bytes, row, args.row_end);
    const auto pass = [&]<int C>() {
      float32x4_t acc[C];
      for (int c = 0; c < C; ++c) acc[c] = vdupq_n_f32(0.0f);
      gemv_f32_rows<F, C>(args, rows, acc);
      for (int c = 0; c < C; ++c) store_rows(args, row, rows.count, static_cast<std::size_t>(c), acc[c]);
    };
    if (args.x.m == 1) pass.template operator()<1>();
    if (args.x.m == 2) pass.template operator()<2>();
  }
}

template <class F>
constexpr ProductKernel f32_product() {
  return {[](std::size_t) { return ActivationSpec{Precision::f32, 256, 0}; }, product_f32<F>,
          [](std::size_t m, std::size_t) -> std::size_t {
            return m < kF32GemmFrom ? 0 : (kF32PanelRows * kChunk + m * kF32PanelRows) * sizeof(float);
          },
          [](std::size_t m) -> KernelDescription {
            if (m < kF32GemmFrom) return {"gemv", "blocks read in place, decoded to f32 in registers", 4, 2};
            return {"gemm", "16 rows x 256 decoded to an f32 panel in the first-level cache", 4, 3};
          }};
}

}  // namespace
}  // namespace quantlinear::cpu
