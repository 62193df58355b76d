// The f32 tile on AVX-512. The canonical order has eight lanes, so a register holds two rows; the
// activations are loaded into both halves.
#pragma once

#include "cpu/kernels/x86/f32.hpp"

namespace quantlinear::cpu {
namespace {

/// 4 pairs of rows x 6 columns: 24 accumulators of 32 registers, 10 loads for 24 multiply-adds.
/// Panel [row / 2][k / 8][row % 2][8].
struct Avx512F32Tile {
  static constexpr std::size_t kRows = 8;
  static constexpr int kColumns = 6;
  static constexpr bool kPlainPanel = false;

  static void store_group(float* panel, std::size_t row, std::size_t group, const Floats32& w) {
    float* out = panel + row / 2 * 2 * kChunk + 8 * (row % 2) + 64 * group;
    for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + 16 * i, w.v[i]);
  }

  template <int C>
  [[gnu::always_inline]] static void multiply(const std::uint8_t* source, std::size_t, std::size_t row, const float* x,
                                              std::size_t count, float* results) {
    const float* panel = reinterpret_cast<const float*>(source) + row * kChunk;
    __m512 s[4][C];
    for (auto& v : s) {
      for (auto& w : v) w = _mm512_setzero_ps();
    }
    for (std::size_t k = 0; k < count; k += 8) {
      __m512 w[4];
      for (std::size_t r = 0; r < 4; ++r) w[r] = _mm512_loadu_ps(panel + r * 2 * kChunk + 2 * k);
      for (int c = 0; c < C; ++c) {
        const __m512 xv = _mm512_broadcast_f32x8(_mm256_loadu_ps(x + static_cast<std::size_t>(c) * kChunk + k));
        for (int r = 0; r < 4; ++r) s[r][c] = _mm512_fmadd_ps(w[r], xv, s[r][c]);
      }
    }
    for (int c = 0; c < C; ++c) {
      const auto pairs = [](__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
      };
      // 128-bit parts: lanes 0..3 and 4..7 of the even rows, then of the odd rows
      const __m512 sums = pairs(pairs(s[0][c], s[1][c]), pairs(s[2][c], s[3][c]));
      const __m128 even = _mm_add_ps(_mm512_castps512_ps128(sums), _mm512_extractf32x4_ps(sums, 1));
      const __m128 odd = _mm_add_ps(_mm512_extractf32x4_ps(sums, 2), _mm512_extractf32x4_ps(sums, 3));
      float* t = results + kF32PanelRows * static_cast<std::size_t>(c) + row;
      _mm_storeu_ps(t, _mm_add_ps(_mm_loadu_ps(t), _mm_unpacklo_ps(even, odd)));
      _mm_storeu_ps(t + 4, _mm_add_ps(_mm_loadu_ps(t + 4), _mm_unpackhi_ps(even, odd)));
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
