// One row against a few columns on AVX2 with the VEX-coded dot products. Formats whose bytes fit
// vpmaddubsw apply the sub-scale by vpdpwssd, which widens, multiplies and adds in one; the others need
// vpdpbusd, which does not saturate.
#pragma once

#include "cpu/kernels/x86/avx2_dot.hpp"

namespace quantlinear::cpu {
namespace {

struct AvxVnniDot {
  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A8Meta>& x,
                                                      LaneSums<F, C>& r) {
    const __m128i scale_bytes = F::template scales<V>(block);
    const ScaleLanes<F> scales(scale_bytes);
    for (int c = 0; c < C; ++c) r.s[c] = _mm256_setzero_si256();
    unroll<8>([&]<int J>() {
      const __m256i u = F::template group<V, J>(block);
      const __m256i scale = scales.template lanes<J>();
      for (int c = 0; c < C; ++c) {
        const __m256i a = load256(x.column(c) + 32 * J);
        if constexpr (F::kMaxU <= 128) {
          r.s[c] = _mm256_dpwssd_avx_epi32(r.s[c], _mm256_maddubs_epi16(u, a), scale);
        } else {
          const __m256i p = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u, a);
          r.s[c] = _mm256_add_epi32(r.s[c], _mm256_mullo_epi32(p, _mm256_srai_epi32(scale, 16)));
        }
      }
    });
    for (int c = 0; c < C; ++c) {
      if constexpr (F::kOffset != 0) {
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(scale_bytes, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin) r.m[c] = Avx2Dot::with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
    }
  }
  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A16Meta>& x,
                                                      LaneSums<F, C>& r) {
    Avx2Dot::super_block_sums<F, C>(block, x, r);
  }

  [[gnu::always_inline]] static __m256i group_products(__m256i u, const ChunkX<A8Meta>& x, int c, int group) {
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u, load256(x.column(c) + 32 * group));
  }
  [[gnu::always_inline]] static __m256i group_products(__m256i u, const ChunkX<A16Meta>& x, int c, int group) {
    return Avx2Dot::group_products(u, x, c, group);
  }

  /// Sums of the products of one group of eight rows with C columns, per half of the group.
  template <class Meta, int C>
  [[gnu::always_inline]] static void group_sums(const __m256i (&u)[8], const ChunkX<Meta>& x, int group,
                                                HalfSums (&sums)[C]) {
    group_sums_by_column<AvxVnniDot>(u, x, group, sums);
  }
};

}  // namespace
}  // namespace quantlinear::cpu
