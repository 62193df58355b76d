// The f32 tile on AVX-512. The canonical order has eight lanes, so a register holds two rows of activations, which are
// prepared side by side, and the weights are loaded into both halves.
#pragma once

#include "cpu/kernels/x86/f32.hpp"

namespace quantlinear::cpu {
namespace {

/// 4 weight rows x 6 pairs of columns: 24 accumulators of 32 registers, 10 loads for 24 multiply-adds.
struct Avx512F32Tile {
  static constexpr std::uint16_t kSideBySide = 2;
  static constexpr int kColumns = 12;
  template <class F>
  static constexpr int kColumnsInPlace = kColumns;
  // Measured on Zen 5. Few columns wait for memory, which prefers fewer rows at a time.
  template <int Bytes>
  static constexpr InPlace in_place(std::size_t m, std::size_t /*row_bytes*/) {
    return {m * Bytes < 32 ? kF32PanelRows : kF32Rows, true};
  }
  template <class F>
  static constexpr std::size_t kMostInPlace = SIZE_MAX;
  template <int Bytes>
  static constexpr std::size_t kFloatsGemmFrom = Bytes == 4 ? 2 : 3;  // measured on Zen 4

  template <class F>
  static constexpr std::size_t pass(std::size_t left, bool /*in_place*/) {
    return 2 * even_pass((left + 1) / 2, kColumns / 2);
  }

  template <int C, class F, Besides B>
  [[gnu::always_inline]] static void multiply(const F32Rows<F, B>& weights, const float* x, std::size_t count,
                                              float* results) {
    static_assert(B != Besides::keeping, "kMostInPlace");
    constexpr int kPairs = C / 2;
    __m512 s[4][kPairs];
    for (auto& row : s) {
      for (auto& v : row) v = _mm512_setzero_ps();
    }
    for (std::size_t k = 0; k < count; k += 8) {
      weights.template fetch<kF32TileRows>(k);
      __m512 w[4];
      for (std::size_t r = 0; r < 4; ++r) w[r] = twice(weights, r, k);
      for (int c = 0; c < kPairs; ++c) {
        const __m512 xv = _mm512_loadu_ps(x + static_cast<std::size_t>(c) * 2 * kChunk + 2 * k);
        for (int r = 0; r < 4; ++r) s[r][c] = _mm512_fmadd_ps(w[r], xv, s[r][c]);
      }
    }
    const auto pair = [&](int c) { return pairs(pairs(s[0][c], s[1][c]), pairs(s[2][c], s[3][c])); };
    const auto add = [&](int c, __m128 sums) {
      float* t = results + kF32Rows * static_cast<std::size_t>(c);
      _mm_storeu_ps(t, _mm_add_ps(_mm_loadu_ps(t), sums));
    };
    for (int c = 0; c < kPairs; c += 2) {
      // 128-bit parts of a pair: lanes 0..3 and 4..7 of four rows with its first column, then with its second one.
      const bool two = c + 1 < kPairs;
      const __m512 first = pair(c), second = two ? pair(c + 1) : first;
      const __m512 sums =
          _mm512_add_ps(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xdd));
      add(2 * c, _mm512_castps512_ps128(sums));
      add(2 * c + 1, _mm512_extractf32x4_ps(sums, 1));
      if (two) {
        add(2 * c + 2, _mm512_extractf32x4_ps(sums, 2));
        add(2 * c + 3, _mm512_extractf32x4_ps(sums, 3));
      }
    }
  }

 private:
  /// a0+a1 a2+a3 b0+b1 b2+b3, in each 128-bit part.
  static __m512 pairs(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
  }
  template <class F, Besides B>
  [[gnu::always_inline]] static __m512 twice(const F32Rows<F, B>& weights, std::size_t r, std::size_t k) {
    const std::uint8_t* p = weights.at(r, k);
    if constexpr (F::kType == GgufQuantType::F32) {
      return _mm512_broadcast_f32x8(_mm256_loadu_ps(reinterpret_cast<const float*>(p)));
    } else {
      const __m256i v = _mm256_broadcastsi128_si256(load128(p));
      if constexpr (F::kType == GgufQuantType::F16) return _mm512_cvtph_ps(v);
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
