// Precision f32: exact weights times the caller's own activations.
//
// Canonical order (docs/numerics.md): within a chunk of 256, lane l adds the products k = l, l+8, ...
// by fused multiply-add; the eight lanes are added as a tree; the chunks are added in order. With
// lanes along k neither side needs a transposition, in GEMV and GEMM alike.
#pragma once

#include "cpu/kernels/x86/decode.hpp"
#include "cpu/kernels/x86/panel_order.hpp"

namespace quantlinear::cpu {
namespace {

inline constexpr std::size_t kF32PanelRows = 16;
inline const float* f32_values(const Activations& x, std::size_t chunk, std::size_t column) {
  return static_cast<const float*>(x.values) + (chunk * x.m + column) * kChunk;
}

/// Eight rows, C columns, decoded in registers.
template <class F, int C>
[[gnu::noinline]] void gemv_f32_rows(const ProductArgs& args, const Rows8& rows, __m256 (&acc)[C]) {
  const StreamAhead stream(args, 8, kPrefetch);
  for (std::size_t k = 0; k < args.in_features; k += kChunk) {
    const std::size_t count = args.in_features - k < kChunk ? args.in_features - k : kChunk;
    const std::size_t at = k / F::kBlockElements * F::kBlockBytes;
    const std::size_t ahead = stream(at);
    const float* x = f32_values(args.x, k / kChunk, 0);
    __m256 sums[C][8];
#pragma GCC unroll 1
    for (std::size_t i = 0; i < 8; ++i) {
      prefetch<static_cast<int>(kChunk / F::kBlockElements * F::kBlockBytes)>(rows.row(i, ahead));
      __m256 s[C];
      for (int c = 0; c < C; ++c) s[c] = _mm256_setzero_ps();
      for_each_group<F>(rows.row(i, at), count, [&](std::size_t g, const Floats32& w) {
        for (int j = 0; j < 4; ++j) {
          for (int c = 0; c < C; ++c) {
            s[c] = _mm256_fmadd_ps(
                w.v[j],
                _mm256_loadu_ps(x + static_cast<std::size_t>(c) * kChunk + 32 * g + 8 * static_cast<std::size_t>(j)),
                s[c]);
          }
        }
      });
      for (int c = 0; c < C; ++c) sums[c][i] = s[c];
    }
    for (int c = 0; c < C; ++c) acc[c] = _mm256_add_ps(acc[c], sums8(sums[c]));
  }
}

/// From this m on, decoding once into a panel beats decoding for every few columns.
inline constexpr std::size_t kF32GemmFrom = 3;
/// How far ahead a single stream is fetched: the hardware prefetcher does not follow it across pages.
inline constexpr std::size_t kStreamPrefetch = 8192;

/// Sums of N neighbouring chunks, `count` weights each, of one row of float weights in C columns of x.
template <class F, int N, int C>
[[gnu::always_inline]] inline void chunk_sums(const std::uint8_t* weights, const Activations& activations,
                                              std::size_t chunk, std::size_t count, __m256 (&s)[N][C]) {
  const float* x = f32_values(activations, chunk, 0);
  for (auto& columns : s) {
    for (auto& v : columns) v = _mm256_setzero_ps();
  }
  for_each_group<F>(weights, count, [&](std::size_t g, const Floats32& first) {
    unroll<N>([&]<int I>() {
      const std::uint8_t* group = weights + (I * kChunk + 32 * g) * F::kBlockBytes;
      prefetch<32 * F::kBlockBytes>(group + kStreamPrefetch);
      const Floats32 w = I == 0 ? first : load_floats32<F>(group);
      for (std::size_t j = 0; j < 4; ++j) {
        for (std::size_t c = 0; c < C; ++c) {
          s[I][c] =
              _mm256_fmadd_ps(w.v[j], _mm256_loadu_ps(x + (I * activations.m + c) * kChunk + 32 * g + 8 * j), s[I][c]);
        }
      }
    });
  });
}

/// Float weights are nothing but memory: one row after the other is the fastest way through it, four chunks at a time,
/// because the multiply-adds of one wait for each other.
template <class F, int C>
[[gnu::noinline]] void gemv_float_weights(const ProductArgs& args, const Rows8& rows, __m256 (&acc)[C]) {
  alignas(32) float results[C][8] = {};
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t k = 0;
    const auto chunks = [&]<int N>(std::size_t count) {
      __m256 s[N][C];
      chunk_sums<F, N, C>(rows.row(i, k * F::kBlockBytes), args.x, k / kChunk, count, s);
      for (int n = 0; n < N; ++n) {
        for (int c = 0; c < C; ++c) results[c][i] += sum8(s[n][c]);
      }
      k += N * kChunk;
    };
    while (k + 4 * kChunk <= args.in_features) chunks.template operator()<4>(kChunk);
    while (k + kChunk <= args.in_features) chunks.template operator()<1>(kChunk);
    if (k < args.in_features) chunks.template operator()<1>(args.in_features - k);
  }
  for (int c = 0; c < C; ++c) acc[c] = _mm256_load_ps(results[c]);
}

/// The AVX2 tile: 4 rows x 3 columns are 12 accumulators of 16 registers, with 7 loads for 12
/// multiply-adds. Panel [row][k].
struct Avx2F32Tile {
  static constexpr std::size_t kRows = 4;
  static constexpr int kColumns = 3;
  static constexpr bool kPlainPanel = true;  ///< f32 weights in memory look like a panel

  static void store_group(float* panel, std::size_t row, std::size_t group, const Floats32& w) {
    store32(panel + row * kChunk + 32 * group, w);
  }

  /// Rows row .. row+3 of the panel, `stride` bytes apart, against C columns of a chunk, added to the results
  /// [column][16].
  template <int C>
  [[gnu::always_inline]] static void multiply(const std::uint8_t* panel, std::size_t stride, std::size_t row,
                                              const float* x, std::size_t count, float* results) {
    panel += row * stride;
    __m256 s[kRows][C];
    for (auto& v : s) {
      for (auto& w : v) w = _mm256_setzero_ps();
    }
    for (std::size_t k = 0; k < count; k += 8) {
      __m256 xv[C];
      for (int c = 0; c < C; ++c) xv[c] = _mm256_loadu_ps(x + static_cast<std::size_t>(c) * kChunk + k);
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m256 w = _mm256_loadu_ps(reinterpret_cast<const float*>(panel + r * stride + 4 * k));
        for (int c = 0; c < C; ++c) s[r][c] = _mm256_fmadd_ps(w, xv[c], s[r][c]);
      }
    }
    for (int c = 0; c < C; ++c) {
      __m256 v[8];
      for (std::size_t r = 0; r < 8; ++r) v[r] = s[r % kRows][c];
      float* t = results + kF32PanelRows * static_cast<std::size_t>(c) + row;
      _mm_storeu_ps(t, _mm_add_ps(_mm_loadu_ps(t), _mm256_castps256_ps128(sums8(v))));
    }
  }
};

template <class F, class Tile>
void gemm_f32(const ProductArgs& args) noexcept {
  constexpr std::size_t kChunkBytes = kChunk / F::kBlockElements * F::kBlockBytes;
  float* panel = reinterpret_cast<float*>(args.scratch);
  float* results = panel + kF32PanelRows * kChunk;
  in_panel_order<kF32PanelRows>(args, results, [&](PanelAt at, PanelAt ahead) {
    const std::size_t columns = args.x.m;
    const std::size_t rows = args.row_end - at.row < kF32PanelRows ? args.row_end - at.row : kF32PanelRows;
    const std::size_t left = args.in_features - at.chunk * kChunk;
    const std::size_t count = left < kChunk ? left : kChunk;
    const std::uint8_t* block = args.weights + at.row * args.row_bytes + at.chunk * kChunkBytes;
    const std::uint8_t* next = args.weights + ahead.row * args.row_bytes + ahead.chunk * kChunkBytes;
    const auto* source = reinterpret_cast<const std::uint8_t*>(panel);
    std::size_t stride = kChunk * sizeof(float);
    if (F::kType == GgufQuantType::F32 && Tile::kPlainPanel && rows == kF32PanelRows && count % 8 == 0) {
      source = block;
      stride = args.row_bytes;
    }
    for (std::size_t r = 0; r < rows; ++r) {
      prefetch<static_cast<int>(kChunkBytes)>(next + r * args.row_bytes);
      if (source == block) continue;
      for_each_group<F>(block + r * args.row_bytes, count,
                        [&](std::size_t g, const Floats32& w) { Tile::store_group(panel, r, g, w); });
    }
    const std::size_t padded = (count + 7) / 8 * 8;
    std::size_t c = 0;
    const auto step = [&]<int C>() {
      const float* x = f32_values(args.x, at.chunk, c);
      for (std::size_t r = 0; r < rows; r += Tile::kRows) {
        Tile::template multiply<C>(source, stride, r, x, padded, results + c * kF32PanelRows);
      }
      c += C;
    };
    // Four are better two and two than three and one: one column does not fill the multipliers.
    while (c + Tile::kColumns <= columns && columns - c != 4) step.template operator()<Tile::kColumns>();
    while (c + 2 <= columns) step.template operator()<2>();
    if (c < columns) step.template operator()<1>();
  });
}

template <class F, class Tile>
void product_f32(const ProductArgs& args) noexcept {
  if (args.x.m >= kF32GemmFrom) return gemm_f32<F, Tile>(args);
  for (std::size_t row = args.row_begin, step = 8; row < args.row_end; row += step) {
    const Rows8 rows(args.weights, args.row_bytes, row, args.row_end);
    step = rows.count;
    const auto pass = [&]<int C>() {
      __m256 acc[C];
      for (int c = 0; c < C; ++c) acc[c] = _mm256_setzero_ps();
      // Two columns of f32 weights were faster eight rows at a time (measured).
      if constexpr (F::kFamily == Family::float_weight && (C == 1 || F::kBlockBytes == 2)) {
        gemv_float_weights<F, C>(args, rows, acc);
      } else {
        gemv_f32_rows<F, C>(args, rows, acc);
      }
      for (int c = 0; c < C; ++c) store_rows(args, row, rows.skip, rows.count, static_cast<std::size_t>(c), acc[c]);
    };
    if (args.x.m == 1) pass.template operator()<1>();
    if (args.x.m == 2) pass.template operator()<2>();
  }
}

inline std::size_t f32_scratch(std::size_t m) {
  return m < kF32GemmFrom ? 0 : (kF32PanelRows * kChunk + m * kF32PanelRows) * sizeof(float);
}

template <class F, class Tile>
constexpr ProductKernel f32_product() {
  return {[](std::size_t) { return ActivationSpec{Precision::f32, 256, 0}; }, product_f32<F, Tile>, f32_scratch,
          [](std::size_t m) -> KernelDescription {
            if (m >= kF32GemmFrom) {
              return {"gemm", "16 rows x 256 decoded to an f32 panel in the first-level cache", Tile::kRows,
                      static_cast<std::size_t>(Tile::kColumns)};
            }
            if (F::kFamily == Family::float_weight) return {"gemv", "weights read in place, row by row", 1, 2};
            return {"gemv", "blocks read in place, decoded to f32 in registers", 8, 2};
          }};
}

}  // namespace
}  // namespace quantlinear::cpu
