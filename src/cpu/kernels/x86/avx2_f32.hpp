// The f32 tile on AVX2: a register holds the eight lanes of one row.
#pragma once

#include "cpu/kernels/x86/f32.hpp"

namespace quantlinear::cpu {
namespace {

/// 4 weight rows x 3 columns: 12 accumulators of 16 registers, 7 loads for 12 multiply-adds. Weights of 16 bits that
/// are converted in every pass: 2 rows x 4 to 6 columns, so that each is converted once or twice, not for every three.
struct Avx2F32Tile {
  static constexpr std::uint16_t kSideBySide = 1;
  static constexpr int kColumns = 3;
  template <class F>
  static constexpr int kColumnsInPlace = F::kBlockBytes == 2 ? 6 : kColumns;
  template <class F>
  static constexpr std::size_t kMostInPlace = F::kType == GgufQuantType::F32   ? 24
                                              : F::kType == GgufQuantType::F16 ? 15
                                                                               : 12;
  template <int Bytes>
  static constexpr std::size_t kFloatsGemmFrom = 3;
  // Measured on Zen 3. The hardware follows long rows of F32 better than any fetch by hand. Lines of rows as long as
  // pages, or several, share a few sets of the first-level cache: four or eight such rows stay there until they have
  // met all columns.
  template <int Bytes>
  static constexpr InPlace in_place(std::size_t m, std::size_t row_bytes) {
    if (Bytes == 2 || row_bytes < kPage) return {kF32PanelRows, true};
    return {m < 16 ? 4u : 8u, false};
  }
  /// 8 accumulators, of two columns or four, wait for their additions: no more such passes than there must be.
  template <class F>
  static constexpr std::size_t pass(std::size_t left, bool in_place) {
    constexpr std::uint8_t kOf[] = {0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 5, 6, 6, 5, 6, 6};
    return in_place && kColumnsInPlace<F> > kColumns ? kOf[left] : even_pass(left, kColumns);
  }

  template <int C, class F, Besides B>
  [[gnu::always_inline]] static void multiply(const F32Rows<F, B>& weights, const float* x, std::size_t count,
                                              float* results) {
    if constexpr (C <= kColumns) {
      multiply_four_rows<C>(weights, x, count, results);
    } else {
      multiply_two_rows<C>(weights, x, count, results);
      multiply_two_rows<C>(weights.down(2), x, count, results + 2);
    }
  }

 private:
  template <int R, int C, class F, Besides B>
  [[gnu::always_inline]] static void accumulate(const F32Rows<F, B>& weights, const float* x, std::size_t count,
                                                __m256 (&s)[R][C]) {
    for (auto& row : s) {
      for (auto& v : row) v = _mm256_setzero_ps();
    }
    // Zen 3 predicts the end of a loop of 32 turns wrongly: 78 to 91 % of the multipliers.
#pragma GCC unroll 4
    for (std::size_t k = 0; k < count; k += 8) {
      weights.template fetch<R>(k);
      const auto column = [&](int c) { return _mm256_loadu_ps(x + static_cast<std::size_t>(c) * kChunk + k); };
      const auto row = [&](std::size_t r) {
        const __m256 w = load_floats8<F>(weights.at(r, k));
        weights.keep(r, k, w);
        return w;
      };
      if constexpr (R > C) {
        __m256 xv[C];
        for (int c = 0; c < C; ++c) xv[c] = column(c);
        for (std::size_t r = 0; r < R; ++r) {
          const __m256 w = row(r);
          for (int c = 0; c < C; ++c) s[r][c] = _mm256_fmadd_ps(w, xv[c], s[r][c]);
        }
      } else {
        __m256 w[R];
        for (std::size_t r = 0; r < R; ++r) w[r] = row(r);
        for (int c = 0; c < C; ++c) {
          const __m256 xv = column(c);
          for (int r = 0; r < R; ++r) s[r][c] = _mm256_fmadd_ps(w[r], xv, s[r][c]);
        }
      }
    }
  }

  template <int C, class F, Besides B>
  [[gnu::always_inline]] static void multiply_four_rows(const F32Rows<F, B>& weights, const float* x, std::size_t count,
                                                        float* results) {
    __m256 s[4][C];
    accumulate(weights, x, count, s);
    const auto column = [&](int c) { return pairs(pairs(s[0][c], s[1][c]), pairs(s[2][c], s[3][c])); };
    const auto add = [&](int c, __m128 sums) {
      float* t = results + kF32Rows * static_cast<std::size_t>(c);
      _mm_storeu_ps(t, _mm_add_ps(_mm_loadu_ps(t), sums));
    };
    for (int c = 0; c < C; c += 2) {
      // 128-bit halves of a column: lanes 0..3 and 4..7 of four rows.
      const bool two = c + 1 < C;
      const __m256 first = column(c), second = two ? column(c + 1) : first;
      const __m256 sums =
          _mm256_add_ps(_mm256_permute2f128_ps(first, second, 0x20), _mm256_permute2f128_ps(first, second, 0x31));
      add(c, _mm256_castps256_ps128(sums));
      if (two) add(c + 1, _mm256_extractf128_ps(sums, 1));
    }
  }

  template <int C, class F, Besides B>
  [[gnu::always_inline]] static void multiply_two_rows(const F32Rows<F, B>& weights, const float* x, std::size_t count,
                                                       float* results) {
    __m256 s[2][C];
    accumulate(weights, x, count, s);
    for (int c = 0; c < C; c += 2) {
      // Both rows of a column, both rows of the next one (of the last one, where there is none).
      const int next = c + 1 < C ? c + 1 : c;
      const __m256 halves = pairs(pairs(s[0][c], s[1][c]), pairs(s[0][next], s[1][next]));
      const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
      auto* low = reinterpret_cast<__m64*>(results + kF32Rows * static_cast<std::size_t>(c));
      auto* high = reinterpret_cast<__m64*>(results + kF32Rows * static_cast<std::size_t>(next));
      const __m128 all = _mm_add_ps(_mm_loadh_pi(_mm_loadl_pi(_mm_setzero_ps(), low), high), sums);
      _mm_storel_pi(low, all);
      if (next != c) _mm_storeh_pi(high, all);
    }
  }

  /// a0+a1 a2+a3 b0+b1 b2+b3, in each 128-bit half.
  static __m256 pairs(__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
  }
};

}  // namespace
}  // namespace quantlinear::cpu
