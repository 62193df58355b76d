// One row against a few columns on AVX2 with the VEX-coded dot products. Formats whose bytes fit
// vpmaddubsw apply the sub-scale by vpdpwssd, which widens, multiplies and adds in one; the others need
// vpdpbusd, which does not saturate.
#pragma once

#include "cpu/kernels/x86/avx2_dot.hpp"

namespace quantlinear::cpu {
namespace {

struct AvxVnniDot {
  using Lanes = AvxVnniLanes;
  template <class Meta, int C>
  using SixBit = SixBitMins;  ///< measured
  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const SubScales& sub,
                                                      const ChunkX<A8Meta>& x, LaneSums<F, C>& r) {
    const ScaleLanesFor<F, C> scales(sub.scales);
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
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(sub.scales, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin && !kMinsOf8<F, A8Meta>) r.m[c] = Avx2Dot::with_sums<F>(sub.mins, 1, x.meta[c]);
    }
  }
  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const SubScales& sub,
                                                      const ChunkX<A16Meta>& x, LaneSums<F, C>& r) {
    Avx2Dot::super_block_sums<F, C>(block, sub, x, r);
  }

  template <class F, class Meta>
  static constexpr bool kSigned = false;

  template <class F, int N>
  [[gnu::always_inline]] static __m256i unit_products(const __m256i (&u)[N], const UnitX<A8Meta, N>& x) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < N; ++i) sum = _mm256_dpbusd_avx_epi32(sum, u[i], x.a[i]);
    return sum;
  }
  template <class F, int N>
  [[gnu::always_inline]] static __m256i unit_products(const __m256i (&u)[N], const UnitX<A16Meta, N>& x) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < N; ++i) {
      const Words32 w = widen(u[i]);
      sum = _mm256_dpwssd_avx_epi32(sum, w.low, x.a[2 * i]);
      sum = _mm256_dpwssd_avx_epi32(sum, w.high, x.a[2 * i + 1]);
    }
    return sum;
  }

  template <class F, class Meta, int C>
  [[gnu::always_inline]] static void unit_sums(const auto& weights, const ChunkX<Meta>& x, int group,
                                               HalfSums (&sums)[C]) {
    unit_sums_by_column<F, AvxVnniDot>(weights, x, group, sums);
  }
};

}  // namespace
}  // namespace quantlinear::cpu
