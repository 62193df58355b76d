// One row against a few columns on AVX-512 with VNNI: vpdpbusd takes any unsigned weight byte, so
// every format runs 8-bit products, 64 weights at a time.
#pragma once

#include "cpu/kernels/x86/avx2_dot.hpp"
#include "cpu/kernels/x86/avx512_gemv_fours.hpp"
#include "cpu/kernels/x86/avx512_gemv_small.hpp"
#include "cpu/kernels/x86/avx512_gemv_super.hpp"
#include "cpu/kernels/x86/avx512_panel.hpp"
#include "cpu/kernels/x86/zmm.hpp"

namespace quantlinear::cpu {
namespace {

struct Avx512Dot {
  using Lanes = Avx512Lanes;
  template <class F>
  using Unpack = Avx512Unpack<F>;
  template <class F>
    requires(Unpack<F>::kByPlanes || Unpack<F>::kIndexed || Unpack<F>::kByQuarters || kWideBlocks<F>)
  using Packer = std::conditional_t<kWideBlocks<F>, PackWideBlocks<F>, PackBlocks<F>>;
  /// One column of Q8_0 waits for memory, which is slower with sixteen rows side by side.
  template <class F>
  static constexpr std::size_t kSixteenRowsFrom = kSmallBlocksOfBytes<F> ? 2 : 1;
  template <class F, class Meta>
    requires(kWideBlocks<F> && sizeof(Meta) == sizeof(A8Meta))
  static std::size_t by_sixteen_rows(const ProductArgs& args) {
    if constexpr (kFoursOfBlocks<F>) {
      if (args.in_features % 128 == 0) return gemv_by_fours<F>(args);
    }
    return gemv_by_sixteen_rows<F>(args);
  }
  template <class F, class Meta>
    requires(kFoursOfBlocks<F> && sizeof(Meta) == sizeof(A8Meta))
  static std::size_t sixteen_rows_scratch(std::size_t m, std::size_t in_features) {
    return fours_bytes(m, in_features);
  }
  template <class F, class Meta>
    requires(kWideSuperBlocks<F> && sizeof(Meta) == sizeof(A8Meta))
  static std::size_t by_sixteen_rows(const ProductArgs& args) {
    return gemv_super_by_sixteen_rows<F>(args);
  }
  template <class Meta, int C>
  using SixBit = SixBitFields;  ///< measured
  /// Whether activations have to be put in the order of the quarters first.
  template <class F, class Meta>
  static constexpr bool kReorders =
      sizeof(Meta) == sizeof(A8Meta) && (Unpack<F>::kOrder != formats::kPlainQuarters || Unpack<F>::kByPlanes);

  /// 256 activations in the order of the quarters or planes.
  template <class F>
  [[gnu::always_inline]] static void reorder(const std::int8_t* a, std::int8_t* out) {
    if constexpr (Unpack<F>::kByPlanes) {
      unroll<4>([&]<int P>() {
        // Every fourth word.
        static constexpr auto kSource = [] {
          struct {
            alignas(64) std::int16_t at[32];
          } source{};
          for (int i = 0; i < 32; ++i) source.at[i] = static_cast<std::int16_t>((4 * i + P) % 64);
          return source;
        }();
        const auto half = [&](int i) {
          return _mm512_castsi512_si256(
              _mm512_permutex2var_epi16(load512(a + i), load512(kSource.at), load512(a + i + 64)));
        };
        _mm512_storeu_si512(out + 64 * P, Avx512Vocabulary::join(half(0), half(128)));
      });
      return;
    }
    unroll<16>([&]<int I>() {
      const std::int8_t* unit = a + 16 * Unpack<F>::kOrder.unit[I / 4][I % 4];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * I), load128(unit));
    });
  }

  /// Whether the activations of C columns stay in registers for eight rows; measured.
  template <class F, class Meta, int C>
  static constexpr bool kHoldsActivations =
      sizeof(Meta) == sizeof(A8Meta) && (Unpack<F>::kIndexed || (Unpack<F>::kByPlanes && C == 1));

  template <class F, class Meta>
  static constexpr bool kAhead = sizeof(Meta) == sizeof(A8Meta) && Unpack<F>::kIndexed;
  template <class F>
  using Ahead = typename Unpack<F>::Indices;

  template <class F, int C>
  [[gnu::always_inline]] static void indexed_sums(const std::uint8_t* block, const Ahead<F>& ahead,
                                                  const SubScales& sub, const ChunkX<A8Meta>& x, LaneSums<F, C>& r) {
    const auto weights = [&]<int J>() __attribute__((always_inline)) { return ahead.template quarter<J>(block); };
    block_sums<F, C>(weights, sub, x, r);
  }

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const SubScales& sub,
                                                      const ChunkX<A8Meta>& x, LaneSums<F, C>& r) {
    block_sums<F, C>(Unpack<F>::weights_of(block), sub, x, r);
  }

  /// weights<J>() is the J-th quarter or plane.
  template <class F, int C>
  [[gnu::always_inline]] static void block_sums(const auto& weights, const SubScales& sub, const ChunkX<A8Meta>& x,
                                                LaneSums<F, C>& r) {
    // Weights of 7 bits: sums of two products fit int16, and one instruction widens, multiplies by the sub-scale and
    // adds. Larger ones are summed by fours in int32.
    constexpr bool kWords = F::kMaxU <= 128;
    [[maybe_unused]] const __m512i scales =
        kWords ? _mm512_castsi256_si512(_mm256_cvtepi8_epi16(sub.scales)) : _mm512_cvtepi8_epi32(sub.scales);
    __m512i total[C];
    for (int c = 0; c < C; ++c) total[c] = _mm512_setzero_si512();
    if constexpr (Unpack<F>::kByPlanes) {
      // Every plane has the same groups in the same places.
      unroll<4>([&]<int P>() {
        const __m512i u = weights.template operator()<P>();
        for (int c = 0; c < C; ++c) total[c] = _mm512_dpbusd_epi32(total[c], u, load512(x.column(c) + 64 * P));
      });
      const __m512i scale = plane_scales<F>(sub.scales);
      for (int c = 0; c < C; ++c) total[c] = _mm512_mullo_epi32(total[c], scale);
    } else {
      [[maybe_unused]] __m512i products[C];  // of quarters with the same sub-scales in the same places
      unroll<4>([&]<int J>() {
        const __m512i u = weights.template operator()<J>();
        const __m512i scale = unit_scales<F, J, kWords>(scales);
        for (int c = 0; c < C; ++c) {
          const __m512i a = load512(x.column(c) + 64 * J);
          if constexpr (F::kMaxScale == 1) {
            total[c] = _mm512_dpbusd_epi32(total[c], u, a);
          } else if constexpr (kWords) {
            total[c] = _mm512_dpwssd_epi32(total[c], _mm512_maddubs_epi16(u, a), scale);
          } else {
            products[c] = _mm512_dpbusd_epi32(kSameScales<F, J> ? products[c] : _mm512_setzero_si512(), u, a);
            if (!kSameScales<F, J + 1>) total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(products[c], scale));
          }
        }
      });
    }
    for (int c = 0; c < C; ++c) {
      r.s[c] = _mm256_add_epi32(_mm512_castsi512_si256(total[c]), _mm512_extracti64x4_epi64(total[c], 1));
      if constexpr (F::kOffset != 0) {
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(sub.scales, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin && !kMinsOf8<F, A8Meta>) r.m[c] = Avx2Dot::with_sums<F>(sub.mins, 1, x.meta[c]);
    }
  }

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const SubScales& sub,
                                                      const ChunkX<A16Meta>& x, LaneSums<F, C>& r) {
    const ScaleLanesFor<F, C> scales(sub.scales);
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
        r.s[c] = _mm256_sub_epi32(r.s[c], Avx2Dot::with_sums<F>(sub.scales, F::kOffset, x.meta[c]));
      }
      if constexpr (F::kHasMin && !kMinsOf8<F, A16Meta>) r.m[c] = Avx2Dot::with_sums<F>(sub.mins, 1, x.meta[c]);
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
            const __m512i a = Avx512Vocabulary::join(first.a[n], second.a[n]);
            for (int i = 0; i < 8; ++i) {
              products[i] = _mm512_dpbusd_epi32(products[i], _mm512_broadcast_i64x4(w[i].u[n]), a);
            }
          } else {
            const __m512i low = Avx512Vocabulary::join(first.a[2 * n], second.a[2 * n]);
            const __m512i high = Avx512Vocabulary::join(first.a[2 * n + 1], second.a[2 * n + 1]);
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
  /// Whether quarter J has the same sub-scales in the same places as the one before it.
  template <class F, int J>
  static constexpr bool kSameScales = [] {
    bool same = J > 0 && J < 4;
    for (int i = 0; same && i < 4; ++i) {
      const auto group = [&](int j) { return Unpack<F>::kOrder.unit[j][i] / (F::kScaleStep / 16); };
      same = group(J) == group(J - 1);
    }
    return same;
  }();
  /// The sub-scales of a quarter, each in all words or dwords of its unit; `scales` has them in order, words or dwords.
  template <class F, int J, bool Words>
  [[gnu::always_inline]] static __m512i unit_scales(__m512i scales) {
    constexpr long long kAll = Words ? 0x0001000100010001 : 0x0000000100000001;
    constexpr auto kScale = [](int i) { return kAll * (Unpack<F>::kOrder.unit[J][i] / (F::kScaleStep / 16)); };
    const __m512i index =
        _mm512_setr_epi64(kScale(0), kScale(0), kScale(1), kScale(1), kScale(2), kScale(2), kScale(3), kScale(3));
    return Words ? _mm512_permutexvar_epi16(index, scales) : _mm512_permutexvar_epi32(index, scales);
  }
  /// Sub-scales of a plane: in dword i that of weights 16i .. 16i + 15.
  template <class F>
  [[gnu::always_inline]] static __m512i plane_scales(__m128i scales) {
    return _mm512_cvtepi8_epi32(F::kScaleStep == 32 ? _mm_unpacklo_epi8(scales, scales) : scales);
  }

  /// half_sums of the low and of the high halves of eight registers.
  [[gnu::always_inline]] static void two_half_sums(const __m512i (&v)[8], HalfSums& first, HalfSums& second) {
    const __m512i a = wide_pairs(wide_pairs(v[0], v[1]), wide_pairs(v[2], v[3]));
    const __m512i b = wide_pairs(wide_pairs(v[4], v[5]), wide_pairs(v[6], v[7]));
    // The low 128 bits of each half of a and b, then the high ones.
    const __m512i low = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b);
    const __m512i high = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b);
    second = {_mm512_extracti64x4_epi64(low, 1), _mm512_extracti64x4_epi64(high, 1)};
    first = {_mm512_castsi512_si256(low), _mm512_castsi512_si256(high)};
  }
};

}  // namespace
}  // namespace quantlinear::cpu
