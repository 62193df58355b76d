// The f32 tile on AVX2: a register holds the eight lanes of one row.
#pragma once

#include "cpu/kernels/x86/f32.hpp"

namespace quantlinear::cpu {
namespace {

/// 4 weight rows x 3 columns: 12 accumulators of 16 registers, 7 loads for 12 multiply-adds.
struct Avx2F32Tile {
  static constexpr std::uint16_t kSideBySide = 1;
  static constexpr int kColumns = 3;
  // Measured on Zen 3. The hardware follows long rows of F32 better than any fetch by hand. Lines of rows as long as
  // pages, or several, share a few sets of the first-level cache: four or eight such rows stay there until they have
  // met all columns.
  template <int Bytes>
  static constexpr InPlace in_place(std::size_t m, std::size_t row_bytes) {
    if (Bytes == 2 || row_bytes < kPage) return {kF32PanelRows, true};
    return {m < 16 ? 4u : 8u, false};
  }
  template <class F>
  static constexpr std::size_t kMostInPlace = F::kType == GgufQuantType::F32   ? 24
                                              : F::kType == GgufQuantType::F16 ? 15
                                                                               : 11;
  template <int Bytes>
  static constexpr std::size_t kFloatsGemmFrom = 3;

  template <int C, class F, Besides B>
  [[gnu::always_inline]] static void multiply(const F32Rows<F, B>& weights, const float* x, std::size_t count,
                                              float* results) {
    __m256 s[4][C];
    for (auto& row : s) {
      for (auto& v : row) v = _mm256_setzero_ps();
    }
    // Zen 3 predicts the end of a loop of 32 turns wrongly: 78 to 91 % of the multipliers.
#pragma GCC unroll 4
    for (std::size_t k = 0; k < count; k += 8) {
      weights.fetch(k);
      __m256 xv[C];
      for (int c = 0; c < C; ++c) xv[c] = _mm256_loadu_ps(x + static_cast<std::size_t>(c) * kChunk + k);
      for (std::size_t r = 0; r < 4; ++r) {
        const __m256 w = load_floats8<F>(weights.at(r, k));
        weights.keep(r, k, w);
        for (int c = 0; c < C; ++c) s[r][c] = _mm256_fmadd_ps(w, xv[c], s[r][c]);
      }
    }
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

 private:
  /// a0+a1 a2+a3 b0+b1 b2+b3, in each 128-bit half.
  static __m256 pairs(__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
  }
};

}  // namespace
}  // namespace quantlinear::cpu
