// Precision f32: exact weights times the caller's own activations.
//
// Canonical order (docs/numerics.md): within a chunk of 256, lane l adds the products k = l, l+8, ...
// by fused multiply-add; the eight lanes are added as a tree; the chunks are added in order. With
// lanes along k neither side needs a transposition, in GEMV and GEMM alike.
#pragma once

#include "cpu/kernels/x86/f32_gemm.hpp"

namespace quantlinear::cpu {
namespace {

inline const float* f32_values(const Activations& x, std::size_t chunk, std::size_t column) {
  return static_cast<const float*>(x.values) + (chunk * x.m + column) * kChunk;
}

/// Eight rows, C columns, decoded in registers.
template <class F, int C>
[[gnu::noinline]] void gemv_f32_rows(const ProductArgs& args, const Rows8& rows, __m256 (&acc)[C]) {
  const auto stream = RowsAhead::of<F>(args, rows.base, 8);
  for (std::size_t k = 0; k < args.in_features; k += kChunk) {
    const std::size_t count = args.in_features - k < kChunk ? args.in_features - k : kChunk;
    const std::size_t at = k / F::kBlockElements * F::kBlockBytes;
    auto ahead = stream.template pieces<FetchTo<F>::kTurns>(rows.base, at);
    const float* x = f32_values(args.x, k / kChunk, 0);
    __m256 sums[C][8];
#pragma GCC unroll 1
    for (std::size_t i = 0; i < 8; ++i) {
      prefetch<static_cast<int>(kRowChunkBytes<F>), FetchTo<F>::kGemv>(ahead.take());
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

/// From this m on GEMM is faster: decoding once into a panel beats decoding for every few columns.
template <class F, class Tile>
inline constexpr std::size_t kF32GemmFrom =
    F::kFamily == Family::float_weight ? Tile::template kFloatsGemmFrom<F::kBlockBytes> : 3;

/// How far ahead the weights of short rows are fetched: the hardware prefetcher does not follow them across pages.
inline constexpr std::size_t kStreamPrefetch = 16384;

/// Float weights in short rows, one column: one row after the other.
template <class F>
[[gnu::noinline]] void gemv_short_float_rows(const ProductArgs& args, const Rows8& rows, __m256 (&acc)[1]) {
  alignas(32) float results[8] = {};
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t k = 0; k < args.in_features; k += kChunk) {
      const std::size_t left = args.in_features - k, count = left < kChunk ? left : kChunk;
      const std::uint8_t* weights = rows.row(i, k * F::kBlockBytes);
      const float* x = f32_values(args.x, k / kChunk, 0);
      __m256 s = _mm256_setzero_ps();
      for_each_group<F>(weights, count, [&](std::size_t g, const Floats32& w) {
        prefetch<32 * F::kBlockBytes, FetchTo<F>::kGemv>(weights + 32 * g * F::kBlockBytes + kStreamPrefetch);
        for (std::size_t j = 0; j < 4; ++j) s = _mm256_fmadd_ps(w.v[j], _mm256_loadu_ps(x + 32 * g + 8 * j), s);
      });
      results[i] += sum8(s);
    }
  }
  acc[0] = _mm256_load_ps(results);
}

/// Float weights, eight rows side by side, a line of each. The next eight are fetched, each line `Times` times on its
/// way; 0: nothing, as the hardware follows eight rows of a page or more by itself.
template <class F, int C, int Times>
[[gnu::noinline]] void gemv_eight_float_rows(const ProductArgs& args, const Rows8& all_rows, __m256 (&acc)[C]) {
  constexpr int kAtOnce = 8 / C;
  const Rows8 rows = all_rows;  // copies stay in registers
  const auto stream = RowsAhead::stretch<F>(args, 8);
  for (std::size_t k = 0; k < args.in_features; k += kChunk) {
    const std::size_t left = args.in_features - k, count = left < kChunk ? left : kChunk;
    const float* x = f32_values(args.x, k / kChunk, 0);
    constexpr std::size_t kBytes = 64 * F::kBlockBytes / C;
    Ahead<kBytes, 1, FetchTo<F>::kGemv, Times> ahead = {
        PiecesAhead<>::in_a_row(stream.pieces(rows.base, k * F::kBlockBytes).next, kBytes), kPage};
    __m256 sums[C][8];
    unroll<C>([&]<int Part>() __attribute__((always_inline)) {
      __m256 s[C][kAtOnce];
      const auto add = [&](std::size_t i, const auto& weights_of) __attribute__((always_inline)) {
        __m256 xv[C];
        for (int c = 0; c < C; ++c) xv[c] = _mm256_loadu_ps(x + static_cast<std::size_t>(c) * kChunk + i);
        unroll<kAtOnce>([&]<int R>() __attribute__((always_inline)) {
          const __m256 w = weights_of.template operator()<kAtOnce * Part + R>();
          for (int c = 0; c < C; ++c) s[c][R] = _mm256_fmadd_ps(w, xv[c], s[c][R]);
        });
      };
      for (auto& column : s) {
        for (auto& v : column) v = _mm256_setzero_ps();
      }
      const std::uint8_t* p = rows.base + k * F::kBlockBytes;
      std::size_t i = 0;
#pragma GCC unroll 2
      for (; i + 8 <= count; i += 8, p += 8 * F::kBlockBytes) {
        ahead.share();
        add(i, [&]<int R>() __attribute__((always_inline)) { return load_floats8<F>(rows.row<R>(p)); });
      }
      if (i < count) {
        add(i, [&]<int R>() __attribute__((always_inline)) {
          std::uint8_t padded[8 * F::kBlockBytes] = {};
          std::memcpy(padded, rows.row<R>(p), (count - i) * F::kBlockBytes);
          return load_floats8<F>(padded);
        });
      }
      for (int c = 0; c < C; ++c) {
        for (int r = 0; r < kAtOnce; ++r) sums[c][kAtOnce * Part + r] = s[c][r];
      }
    });
    for (int c = 0; c < C; ++c) acc[c] = _mm256_add_ps(acc[c], sums8(sums[c]));
  }
}

/// Float weights, one or two columns.
template <class F, int C>
[[gnu::always_inline]] inline void gemv_floats(const ProductArgs& args, const Rows8& rows, __m256 (&acc)[C]) {
  constexpr int kTimes = FetchTo<F>::template kFloatTimes<C>;
  const bool stays = 8 * args.row_bytes <= C * RowsAhead::kMost;  // in the second-level cache until it is used
  if (kTimes != 0 && stays && (FetchTo<F>::kLongFloatRows || args.row_bytes < kPage)) {
    return gemv_eight_float_rows<F, C, kTimes>(args, rows, acc);
  }
  if constexpr (kTimes == 0 && C == 1) {
    if (args.row_bytes < kPage) return gemv_short_float_rows<F>(args, rows, acc);
  }
  gemv_eight_float_rows<F, C, 0>(args, rows, acc);
}

template <class F, class Tile>
void product_f32(const ProductArgs& args) noexcept {
  if (args.x.m >= kF32GemmFrom<F, Tile>) return gemm_f32<F, Tile>(args);
  for (std::size_t row = args.row_begin, step = 8; row < args.row_end; row += step) {
    const Rows8 rows(args.weights, args.row_bytes, row, args.row_end);
    step = rows.count;
    const auto pass = [&]<int C>() {
      __m256 acc[C];
      for (int c = 0; c < C; ++c) acc[c] = _mm256_setzero_ps();
      if constexpr (F::kFamily == Family::float_weight) {
        gemv_floats<F, C>(args, rows, acc);
      } else {
        gemv_f32_rows<F, C>(args, rows, acc);
      }
      for (int c = 0; c < C; ++c) store_rows(args, row, rows.skip, rows.count, static_cast<std::size_t>(c), acc[c]);
    };
    if (args.x.m == 1) pass.template operator()<1>();
    if (args.x.m == 2) pass.template operator()<2>();
  }
}

template <class F, class Tile>
constexpr ProductKernel f32_product() {
  return {[](std::size_t m) {
            static constexpr ActivationSpec kOfGemv = {Precision::f32, 256, 0};
            static constexpr ActivationSpec kOfGemm = {Precision::f32, 256, 0, Tile::kSideBySide};
            return m < kF32GemmFrom<F, Tile> ? kOfGemv : kOfGemm;
          },
          product_f32<F, Tile>,
          [](std::size_t m, std::size_t) { return m < kF32GemmFrom<F, Tile> ? 0 : f32_gemm_scratch<Tile>(m); },
          [](std::size_t m) -> KernelDescription {
            constexpr bool kFloats = F::kFamily == Family::float_weight;
            if (m >= kF32GemmFrom<F, Tile>) {
              if (converts_in_tile<F, Tile>(m)) {
                constexpr std::size_t kColumns = Tile::kColumns, kInPlace = Tile::template kColumnsInPlace<F>;
                const bool wide = kInPlace > kColumns && m > kColumns;
                return {"gemm", "weights read in place", wide ? kF32TileRows / 2 : kF32TileRows,
                        wide ? kInPlace : kColumns};
              }
              return {"gemm", "16 rows x 256 decoded to an f32 panel in the first-level cache", kF32TileRows,
                      static_cast<std::size_t>(Tile::kColumns)};
            }
            if (kFloats) {
              return {"gemv",
                      FetchTo<F>::template kFloatTimes<1> != 0
                          ? "weights read in place, eight rows side by side"
                          : "weights read in place, eight rows side by side; rows shorter than a page one by one",
                      8, 2};
            }
            return {"gemv", "blocks read in place, decoded to f32 in registers", 8, 2};
          }};
}

}  // namespace
}  // namespace quantlinear::cpu
