// One row against a few columns on AVX-512 with VNNI: vpdpbusd takes any unsigned weight byte, so
// every format runs 8-bit products, 64 weights at a time.
#pragma once

#include "cpu/kernels/x86/avx2_dot.hpp"

namespace quantlinear::cpu {
namespace {

inline __m512i load512(const void* p) { return _mm512_loadu_si512(p); }

struct Avx512Dot {
  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A8Meta>& x,
                                                      LaneSums<F, C>& r) {
    const __m128i scale_bytes = F::template scales<V>(block);
    const __m512i scales = _mm512_cvtepi8_epi32(scale_bytes);
    __m512i total[C];
    unroll<4>([&]<int J>() {
      const __m256i low = F::template group<V, 2 * J>(block), high = F::template group<V, 2 * J + 1>(block);
      const __m512i u = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
      const __m512i index =
          F::kScaleStep == 32
              ? _mm512_inserti64x4(_mm512_set1_epi32(2 * J), _mm256_set1_epi32(2 * J + 1), 1)
              : _mm512_setr_epi32(4 * J, 4 * J, 4 * J, 4 * J, 4 * J + 1, 4 * J + 1, 4 * J + 1, 4 * J + 1, 4 * J + 2,
                                  4 * J + 2, 4 * J + 2, 4 * J + 2, 4 * J + 3, 4 * J + 3, 4 * J + 3, 4 * J + 3);
      const __m512i scale = _mm512_permutexvar_epi32(index, scales);
      for (int c = 0; c < C; ++c) {
        const __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u, load512(x.column(c) + 64 * J));
        const __m512i scaled = _mm512_mullo_epi32(products, scale);
        total[c] = J == 0 ? scaled : _mm512_add_epi32(total[c], scaled);
      }
    });
    for (int c = 0; c < C; ++c) {
      r.s[c] = _mm256_add_epi32(_mm512_castsi512_si256(total[c]), _mm512_extracti64x4_epi64(total[c], 1));
      if constexpr (F::kOffset != 0) {
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(scale_bytes, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin) r.m[c] = Avx2Dot::with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
    }
  }

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A16Meta>& x,
                                                      LaneSums<F, C>& r) {
    const __m128i scale_bytes = F::template scales<V>(block);
    const ScaleLanes<F> scales(scale_bytes);
    for (int c = 0; c < C; ++c) r.s[c] = _mm256_setzero_si256();
    unroll<8>([&]<int J>() {
      const Words32 u = widen(F::template group<V, J>(block));
      const __m256i scale = scales.template lanes<J>();
      const __m256i low = _mm256_mullo_epi16(u.low, scale), high = _mm256_mullo_epi16(u.high, scale);
      for (int c = 0; c < C; ++c) {
        const std::int8_t* a = x.column(c) + 64 * J;
        r.s[c] = _mm256_dpwssd_epi32(_mm256_dpwssd_epi32(r.s[c], low, load256(a)), high, load256(a + 32));
      }
    });
    for (int c = 0; c < C; ++c) {
      if constexpr (F::kOffset != 0) {
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(scale_bytes, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin) r.m[c] = Avx2Dot::with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
    }
  }

  [[gnu::always_inline]] static __m256i group_products(__m256i u, const ChunkX<A8Meta>& x, int c, int group) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, load256(x.column(c) + 32 * group));
  }
  [[gnu::always_inline]] static __m256i group_products(__m256i u, const ChunkX<A16Meta>& x, int c, int group) {
    const Words32 w = widen(u);
    const std::int8_t* a = x.column(c) + 64 * group;
    const __m256i first = _mm256_dpwssd_epi32(_mm256_setzero_si256(), w.low, load256(a));
    return _mm256_dpwssd_epi32(first, w.high, load256(a + 32));
  }
};

}  // namespace
}  // namespace quantlinear::cpu
