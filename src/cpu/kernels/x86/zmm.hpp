// What kernels of AVX-512 share beyond what ymm.hpp has.
#pragma once

#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// a0+a1 a2+a3 b0+b1 b2+b3, in each 128-bit part.
[[gnu::always_inline]] inline __m512i wide_pairs(__m512i a, __m512i b) {
  const __m512 s = _mm512_castsi512_ps(a), t = _mm512_castsi512_ps(b);
  return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(s, t, 0x88)),
                          _mm512_castps_si512(_mm512_shuffle_ps(s, t, 0xdd)));
}
/// The same for numbers up to Largest. Those that fit words take one shuffle less.
template <int Largest>
[[gnu::always_inline]] inline __m512i wide_pairs_of(__m512i a, __m512i b) {
  if constexpr (Largest > 32767) return wide_pairs(a, b);
  return _mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1));
}

}  // namespace
}  // namespace quantlinear::cpu
