// One row against a few columns on AVX-512 with VNNI: vpdpbusd takes any unsigned weight byte, so
// every format runs 8-bit products, 64 weights at a time.
#pragma once

#include "cpu/kernels/x86/avx2_dot.hpp"
#include "formats/code_book.hpp"

namespace quantlinear::cpu {
namespace {

inline __m512i load512(const void* p) { return _mm512_loadu_si512(p); }

struct Avx512Dot {
  /// Formats of magnitudes and signs: the sign goes to the activations, by one masked subtraction.
  template <class F>
  static constexpr bool kBySigns = requires(const std::uint8_t* b) { F::template magnitudes<V, 0>(b); };

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A8Meta>& x,
                                                      LaneSums<F, C>& r) {
    const __m128i scale_bytes = F::template scales<V>(block);
    const __m512i scales = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(scale_bytes));
    __m512i total[C];
    for (int c = 0; c < C; ++c) total[c] = _mm512_setzero_si512();
    unroll<4>([&]<int J>() {
      const __m512i u = two_groups<F, J>(block);
      [[maybe_unused]] __mmask64 negative = 0;
      if constexpr (kBySigns<F>) negative = _cvtu64_mask64(formats::signs_of_two_groups<V, F, J>(block));
      // The scale of each 16-bit word of products: 8 words are 16 weights.
      constexpr long long kStep = F::kScaleStep == 16 ? 1 : 0;
      constexpr long long kFirst = F::kScaleStep == 16 ? 4 * J : 2 * J;
      constexpr long long kFour = 0x0001000100010001;
      const __m512i index =
          _mm512_setr_epi64(kFour * kFirst, kFour * kFirst, kFour * (kFirst + kStep), kFour * (kFirst + kStep),
                            kFour * (kFirst + 1 + kStep), kFour * (kFirst + 1 + kStep),
                            kFour * (kFirst + 1 + 2 * kStep), kFour * (kFirst + 1 + 2 * kStep));
      const __m512i scale = _mm512_permutexvar_epi16(index, scales);
      for (int c = 0; c < C; ++c) {
        __m512i a = load512(x.column(c) + 64 * J);
        if constexpr (kBySigns<F>) a = _mm512_mask_sub_epi8(a, negative, _mm512_setzero_si512(), a);
        if constexpr (F::kMaxU <= 128) {
          // Widens, multiplies by the sub-scale and adds in one instruction.
          total[c] = _mm512_dpwssd_epi32(total[c], _mm512_maddubs_epi16(u, a), scale);
        } else {
          const __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u, a);
          total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(products, _mm512_srai_epi32(scale, 16)));
        }
      }
    });
    for (int c = 0; c < C; ++c) {
      r.s[c] = _mm256_add_epi32(_mm512_castsi512_si256(total[c]), _mm512_extracti64x4_epi64(total[c], 1));
      if constexpr (F::kOffset != 0 && !kBySigns<F>) {
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(scale_bytes, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin && !MinsOf8::kUsed<F, A8Meta>)
        r.m[c] = Avx2Dot::with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
    }
  }

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const ChunkX<A16Meta>& x,
                                                      LaneSums<F, C>& r) {
    const __m128i scale_bytes = F::template scales<V>(block);
    const ScaleLanesFor<F, C> scales(scale_bytes);
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
      if constexpr (F::kHasMin && !MinsOf8::kUsed<F, A16Meta>)
        r.m[c] = Avx2Dot::with_sums<F>(F::template mins<V>(block), 1, x.meta[c]);
    }
  }

  template <class F, class Meta>
  static constexpr bool kSigned = false;

  template <class F, int N>
  [[gnu::always_inline]] static __m256i unit_products(const __m256i (&u)[N], const UnitX<A8Meta, N>& x) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < N; ++i) sum = _mm256_dpbusd_epi32(sum, u[i], x.a[i]);
    return sum;
  }
  template <class F, int N>
  [[gnu::always_inline]] static __m256i unit_products(const __m256i (&u)[N], const UnitX<A16Meta, N>& x) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < N; ++i) {
      const Words32 w = widen(u[i]);
      sum = _mm256_dpwssd_epi32(sum, w.low, x.a[2 * i]);
      sum = _mm256_dpwssd_epi32(sum, w.high, x.a[2 * i + 1]);
    }
    return sum;
  }

  /// Two columns share a register, so that they share the transposition as well.
  template <class F, class Meta, int C>
  [[gnu::always_inline]] static void unit_sums(const auto& weights, const ChunkX<Meta>& x, int group,
                                               HalfSums (&sums)[C]) {
    if constexpr (C == 1) {
      unit_sums_by_column<F, Avx512Dot>(weights, x, group, sums);
    } else {
      constexpr int N = kUnitRegisters<F>;
      UnitWeights<F> w[8];
      unroll<8>([&]<int I>() __attribute__((always_inline)) { w[I] = weights.template operator()<I>(); });
      for (int c = 0; c < C; c += 2) {
        const UnitX<Meta, N> first(x.column(c), group), second(x.column(c + 1 < C ? c + 1 : c), group);
        __m512i products[8];
        for (int i = 0; i < 8; ++i) products[i] = _mm512_setzero_si512();
        for (int n = 0; n < N; ++n) {
          if constexpr (UnitX<Meta, N>::kBytes) {
            const __m512i a = two(first.a[n], second.a[n]);
            for (int i = 0; i < 8; ++i) {
              products[i] = _mm512_dpbusd_epi32(products[i], _mm512_broadcast_i64x4(w[i].u[n]), a);
            }
          } else {
            const __m512i low = two(first.a[2 * n], second.a[2 * n]);
            const __m512i high = two(first.a[2 * n + 1], second.a[2 * n + 1]);
            for (int i = 0; i < 8; ++i) {
              const Words32 words = widen(w[i].u[n]);
              products[i] = _mm512_dpwssd_epi32(products[i], _mm512_broadcast_i64x4(words.low), low);
              products[i] = _mm512_dpwssd_epi32(products[i], _mm512_broadcast_i64x4(words.high), high);
            }
          }
        }
        two_half_sums(products, sums[c], c + 1 < C ? sums[c + 1] : sums[c]);
      }
    }
  }

 private:
  /// 64 weights: groups 2J and 2J + 1.
  template <class F, int J>
  [[gnu::always_inline]] static __m512i two_groups(const std::uint8_t* block) {
    if constexpr (kBySigns<F>) {
      return two(F::template magnitudes<V, 2 * J>(block), F::template magnitudes<V, 2 * J + 1>(block));
    } else {
      return two(F::template group<V, 2 * J>(block), F::template group<V, 2 * J + 1>(block));
    }
  }
  static __m512i two(__m256i low, __m256i high) { return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1); }

  /// half_sums of the low and of the high halves of eight registers.
  [[gnu::always_inline]] static void two_half_sums(const __m512i (&v)[8], HalfSums& first, HalfSums& second) {
    const auto pairs = [](__m512i a, __m512i b) {
      const __m512 s = _mm512_castsi512_ps(a), t = _mm512_castsi512_ps(b);
      return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(s, t, 0x88)),
                              _mm512_castps_si512(_mm512_shuffle_ps(s, t, 0xdd)));
    };
    const __m512i a = pairs(pairs(v[0], v[1]), pairs(v[2], v[3]));
    const __m512i b = pairs(pairs(v[4], v[5]), pairs(v[6], v[7]));
    // The low 128 bits of each half of a and b, then the high ones.
    const __m512i low = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b);
    const __m512i high = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b);
    second = {_mm512_extracti64x4_epi64(low, 1), _mm512_extracti64x4_epi64(high, 1)};
    first = {_mm512_castsi512_si256(low), _mm512_castsi512_si256(high)};
  }
};

}  // namespace
}  // namespace quantlinear::cpu
