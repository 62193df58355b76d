// One row against a few columns on AVX2, lanes along k.
//
// Per 32 weights one unpack (format file), then per column vpmaddubsw + vpmaddwd (which applies the
// sub-scale while it widens) + vpaddd; offsets and mins go through the sums of the activations.
#pragma once

#include "cpu/kernels/x86/gemv.hpp"

namespace quantlinear::cpu {
namespace {

struct Avx2Dot {
  /// sum over j of factor * t_j * (sum of a over sub-block j), t = mins or scales; spread over lanes.
  template <class F>
  [[gnu::always_inline]] static __m256i with_sums(__m128i t_bytes, int factor, const A8Meta& meta) {
    if constexpr (F::kScaleStep == 32) {
      const __m128i t = _mm_mullo_epi16(_mm_cvtepi8_epi16(t_bytes), _mm_set1_epi16(static_cast<short>(factor)));
      return _mm256_zextsi128_si256(_mm_madd_epi16(t, load128(meta.sums32)));
    } else {
      const __m256i t =
          _mm256_mullo_epi16(_mm256_cvtepi8_epi16(t_bytes), _mm256_set1_epi16(static_cast<short>(factor)));
      return _mm256_madd_epi16(t, load256(meta.sums16));
    }
  }
  template <class F>
  [[gnu::always_inline]] static __m256i with_sums(__m128i t_bytes, int factor, const A16Meta& meta) {
    const __m256i f = _mm256_set1_epi32(factor);
    if constexpr (F::kScaleStep == 32) {
      const __m256i t = _mm256_mullo_epi32(_mm256_cvtepi8_epi32(t_bytes), f);
      return _mm256_mullo_epi32(t, load256(meta.sums32));
    } else {
      const __m256i t0 = _mm256_mullo_epi32(_mm256_cvtepi8_epi32(t_bytes), f);
      const __m256i t1 = _mm256_mullo_epi32(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(t_bytes, t_bytes)), f);
      return _mm256_add_epi32(_mm256_mullo_epi32(t0, load256(meta.sums16)),
                              _mm256_mullo_epi32(t1, load256(meta.sums16 + 8)));
    }
  }

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A8Meta>& x,
                                                      LaneSums<F, C>& r) {
    static_assert(F::kMaxU <= 128, "two products of vpmaddubsw must fit int16");
    const __m128i scale_bytes = F::template scales<V>(block);
    const ScaleLanes<F> scales(scale_bytes);
    for (int c = 0; c < C; ++c) r.s[c] = _mm256_setzero_si256();
    unroll<8>([&]<int J>() {
      const __m256i u = F::template group<V, J>(block);
      const __m256i scale = scales.template lanes<J>();
      for (int c = 0; c < C; ++c) {
        const __m256i products = _mm256_maddubs_epi16(u, load256(x.column(c) + 32 * J));
        r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(products, scale));
      }
    });
    for (int c = 0; c < C; ++c) {
      if constexpr (F::kOffset != 0)
        r.s[c] = _mm256_sub_epi32(r.s[c], with_sums<F>(scale_bytes, F::kOffset, x.meta[c]));
      if constexpr (F::kHasMin) r.m[c] = with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
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
        r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(low, load256(a)));
        r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(high, load256(a + 32)));
      }
    });
    for (int c = 0; c < C; ++c) {
      if constexpr (F::kOffset != 0)
        r.s[c] = _mm256_sub_epi32(r.s[c], with_sums<F>(scale_bytes, F::kOffset, x.meta[c]));
      if constexpr (F::kHasMin) r.m[c] = with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
    }
  }

  /// Integer products of 32 weights with 32 activations, spread over eight lanes: the low four lanes
  /// hold weights 0..15, the high four 16..31.
  [[gnu::always_inline]] static __m256i group_products(__m256i u, const ChunkX<A8Meta>& x, int c, int group) {
    const __m256i products = _mm256_maddubs_epi16(u, load256(x.column(c) + 32 * group));
    return _mm256_madd_epi16(products, _mm256_set1_epi16(1));
  }
  [[gnu::always_inline]] static __m256i group_products(__m256i u, const ChunkX<A16Meta>& x, int c, int group) {
    const Words32 w = widen(u);
    const std::int8_t* a = x.column(c) + 64 * group;
    return _mm256_add_epi32(_mm256_madd_epi16(w.low, load256(a)), _mm256_madd_epi16(w.high, load256(a + 32)));
  }

  /// Sums of the products of one group of eight rows with C columns, per half of the group.
  template <class Meta, int C>
  [[gnu::always_inline]] static void group_sums(const __m256i (&u)[8], const ChunkX<Meta>& x, int group,
                                                HalfSums (&sums)[C]) {
    group_sums_by_column<Avx2Dot>(u, x, group, sums);
  }
};

}  // namespace
}  // namespace quantlinear::cpu
