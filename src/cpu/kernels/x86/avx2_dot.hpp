// One row against a few columns on AVX2, lanes along k.
//
// Per 32 weights one unpack (format file), then per column vpmaddubsw + vpmaddwd (which applies the
// sub-scale while it widens) + vpaddd; offsets and mins go through the sums of the activations.
#pragma once

#include "cpu/isa/avx2_unit_vocabulary.hpp"
#include "cpu/kernels/x86/avx2_code_books.hpp"
#include "cpu/kernels/x86/gemv.hpp"
#include "cpu/kernels/x86/row_lanes.hpp"

namespace quantlinear::cpu {
namespace {

struct Avx2Dot {
  using Lanes = Avx2Lanes;
  /// Measured on Zen 3.
  template <class Meta, int C>
  using SixBit = std::conditional_t<C == 1 && sizeof(Meta) == sizeof(A8Meta), SixBitWords, SixBitMins>;
  /// Whether integer sums are those of q * a rather than of u * a. Two products of bytes beyond 128 do not fit int16:
  /// their sign goes to the activations.
  template <class F, class Meta>
  static constexpr bool kSigned = F::kMaxU > 128 && sizeof(Meta) == sizeof(A8Meta);

  /// What its weights are unpacked with.
  template <class F, class Meta>
  using VocabularyOf = std::conditional_t<kSigned<F, Meta>, SignedLookups, V>;

  /// Formats that unpack by quarters, with units of 16 of different groups side by side: fewer registers of sub-scales.
  template <class F>
  static consteval bool by_quarters() {
    if constexpr (requires { F::kQuarterOrder; }) {
      return F::kScaleStep == 32 && (halves_of_groups<F>() || F::kMaxU > 128);
    } else {
      return false;
    }
  }
  /// Those of them whose two registers hold the halves of groups, so that products are added in int16 before they are
  /// widened.
  template <class F>
  static consteval bool halves_of_groups() {
    return F::kQuarterOrder == formats::kNibbleQuarters && F::kMaxU <= 64;
  }
  /// The unit of a quarter that stands beside the first one.
  template <class F>
  static consteval int beside_first() {
    if constexpr (by_quarters<F>()) return halves_of_groups<F>() ? 2 : 1;
    return 2;
  }

  /// Ties a sum to its register: GCC puts additions off to the end of a block otherwise, and keeps all products on the
  /// stack meanwhile.
  [[gnu::always_inline]] static void keep(__m256i& sum) { asm("" : "+v"(sum)); }

  template <class F>
  [[gnu::always_inline]] static __m256i signed_bytes(__m256i u) {
    static_assert(F::kOffset == 128);
    return _mm256_xor_si256(u, _mm256_set1_epi8(-128));
  }
  template <class F>
  [[gnu::always_inline]] static __m256i byte_products(__m256i u, __m256i a) {
    if constexpr (F::kMaxU <= 128) {
      return _mm256_maddubs_epi16(u, a);
    } else {
      const __m256i w = signed_bytes<F>(u);
      return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
    }
  }
  /// Whether signs may as well go from the activations to the weights, for which the magnitudes of the activations are
  /// taken once for many rows. A weight of -128 could not take one.
  template <class F, class Meta>
  static constexpr bool kTakesSigns = kSigned<F, Meta> && requires { requires F::kMinU > 0; };
  template <class F>
  [[gnu::always_inline]] static __m256i byte_products(__m256i u, __m256i a, __m256i magnitudes) {
    return _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(signed_bytes<F>(u), a));
  }

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

  /// Whether activations have to be put in the order of the quarters first, or of the units of two small blocks.
  template <class F, class Meta>
  static constexpr bool kReorders = sizeof(Meta) == sizeof(A8Meta) &&
                                    (by_quarters<F>() || (F::kFamily == Family::small_block && kUnitRegisters<F> == 2));

  /// 256 activations in that order.
  template <class F>
  [[gnu::always_inline]] static void reorder(const std::int8_t* a, std::int8_t* out) {
    const auto* p = reinterpret_cast<const std::uint8_t*>(a);
    constexpr auto kOrder = [] {
      if constexpr (F::kFamily == Family::super_block) {
        return F::kQuarterOrder;
      } else {
        return formats::kPlainQuarters;
      }
    }();
    for (int j = 0; j < 4; ++j) {
      const auto& unit = kOrder.unit[j];
      constexpr int kBeside = beside_first<F>();
      for (int i = 0; i < 2; ++i) {
        const int first = i * (3 - kBeside);
        store256(out + 64 * j + 32 * i,
                 Avx2UnitVocabulary::units(p + 16 * unit[first], p + 16 * unit[first + kBeside]));
      }
    }
  }

  /// Whether gemv_super is to provide ChunkX::magnitudes: of few columns; with more the weights' magnitudes serve all.
  template <class F, class Meta, int C>
  static constexpr bool kMagnitudes = C <= 2 && by_quarters<F>() && kTakesSigns<F, Meta>;

  [[gnu::always_inline]] static __m256i words_twice(const SubScales& sub) {
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi64(sub.scales, sub.scales));
  }
  [[gnu::always_inline]] static __m256i words_twice(const ScaleWords& sub) { return sub.words; }

  template <class F, int C>
  [[gnu::always_inline]] static void sums_by_quarters(const std::uint8_t* block, const auto& sub,
                                                      const ChunkX<A8Meta>& x, LaneSums<F, C>& r) {
    const __m256i words = words_twice(sub);
    // Of two units of 16.
    const auto scale_of = [&]<int Low, int High>() {
      constexpr long long kFirst = 0x0100010001000100, kEach = 0x0202020202020202;
      constexpr long long kLow = kFirst + kEach * (Low / 2), kHigh = kFirst + kEach * (High / 2);
      return _mm256_shuffle_epi8(words, _mm256_setr_epi64x(kLow, kLow, kHigh, kHigh));
    };
    unroll<4>([&]<int J>() {
      constexpr auto kUnit = F::kQuarterOrder.unit[J];
      constexpr int kBeside = beside_first<F>();
      using W = std::conditional_t<halves_of_groups<F>(), Avx2UnitVocabulary, Avx2HalfVocabulary>;
      const auto u = F::template quarter<W, J>(block);
      const __m256i scale = scale_of.template operator()<kUnit[0], kUnit[kBeside]>();
      const __m256i other = scale_of.template operator()<kUnit[3 - kBeside], kUnit[3]>();
      for (int c = 0; c < C; ++c) {
        const std::int8_t* a = x.column(c) + 64 * J;
        __m256i even, odd;
        if constexpr (kMagnitudes<F, A8Meta, C>) {
          const std::int8_t* magnitudes = x.magnitudes + static_cast<int>(kChunk) * c + 64 * J;
          even = byte_products<F>(u.even, load256(a), load256(magnitudes));
          odd = byte_products<F>(u.odd, load256(a + 32), load256(magnitudes + 32));
        } else {
          even = byte_products<F>(u.even, load256(a)), odd = byte_products<F>(u.odd, load256(a + 32));
        }
        if constexpr (halves_of_groups<F>()) {
          r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(_mm256_add_epi16(even, odd), scale));
        } else {
          r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(even, scale));
          r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(odd, other));
        }
      }
    });
  }

  template <class F, int C>
  [[gnu::always_inline]] static void super_block_sums(const std::uint8_t* block, const auto& sub,
                                                      const ChunkX<A8Meta>& x, LaneSums<F, C>& r) {
    for (int c = 0; c < C; ++c) r.s[c] = _mm256_setzero_si256();
    if constexpr (kReorders<F, A8Meta>) {
      sums_by_quarters<F, C>(block, sub, x, r);
    } else if constexpr (F::kMaxScale == 1 && 8 * 2 * 127 * F::kMaxU <= 32767) {
      // Ternary weights: the sums of a whole block fit int16.
      unroll<8>([&]<int J>() {
        const __m256i u = F::template group<V, J>(block);
        for (int c = 0; c < C; ++c) {
          const __m256i products = byte_products<F>(u, load256(x.column(c) + 32 * J));
          r.s[c] = J == 0 ? products : _mm256_add_epi16(r.s[c], products);
        }
      });
      for (int c = 0; c < C; ++c) r.s[c] = widen_sums(r.s[c]);
    } else {
      const ScaleLanesFor<F, C> scales(sub.scales);
      unroll<8>([&]<int J>() {
        const __m256i u = F::template group<VocabularyOf<F, A8Meta>, J>(block);
        const __m256i scale = scales.template lanes<J>();
        for (int c = 0; c < C; ++c) {
          const __m256i products = byte_products<F>(u, load256(x.column(c) + 32 * J));
          r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(products, scale));
          if constexpr (C > 1) keep(r.s[c]);
        }
      });
    }
    for (int c = 0; c < C; ++c) {
      if constexpr (F::kOffset != 0 && !kSigned<F, A8Meta>)
        r.s[c] = _mm256_sub_epi32(r.s[c], with_sums<F>(sub.scales, F::kOffset, x.meta[c]));
      if constexpr (F::kHasMin && !kMinsOf8<F, A8Meta>) r.m[c] = with_sums<F>(sub.mins, 1, x.meta[c]);
    }
  }

  template <class F, class Meta>
  static constexpr bool kAhead =
      sizeof(Meta) == sizeof(A8Meta) && (Avx2CodeBook<F>::kBySigns || Avx2CodeBook<F>::kIndexed);
  template <class F>
  using Ahead = typename Avx2CodeBook<F>::Ahead;

  /// Columns of a pass: many where panels cost much, which is so for look-ups, and where a column more costs little.
  template <class F, class Meta>
  static constexpr int kColumns = [] {
    if (kAhead<F, Meta> || (kReorders<F, Meta> && F::kMaxU <= 31 && F::kFamily == Family::super_block)) return 8;
    return F::kFamily == Family::super_block && sizeof(Meta) == sizeof(A8Meta) ? 5 : 4;
  }();

  template <class F, int C>
  [[gnu::always_inline]] static void indexed_sums(const std::uint8_t* block, const Ahead<F>& ahead,
                                                  const SubScales& sub, const ChunkX<A8Meta>& x, LaneSums<F, C>& r) {
    // Signs go to the activations of one column; with more of them it is less to give them to the weights, once.
    constexpr bool kBySigns = Avx2CodeBook<F>::kBySigns, kToActivations = kBySigns && C == 1;
    for (int c = 0; c < C; ++c) r.s[c] = _mm256_setzero_si256();
    const ScaleLanesFor<F, C> scales(sub.scales);
    unroll<8>([&]<int J>() {
      __m256i u = ahead.template weights<J>(block);
      const __m256i scale = scales.template lanes<J>();
      [[maybe_unused]] __m256i signs;
      if constexpr (kBySigns) signs = ahead.template signs_of<J>();
      if constexpr (kBySigns && !kToActivations) {
        u = _mm256_add_epi8(_mm256_sign_epi8(u, signs), _mm256_set1_epi8(F::kOffset));
      }
      for (int c = 0; c < C; ++c) {
        __m256i a = load256(x.column(c) + 32 * J);
        if constexpr (kToActivations) a = _mm256_sign_epi8(a, signs);
        r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(_mm256_maddubs_epi16(u, a), scale));
        if constexpr (C > 1) keep(r.s[c]);
      }
    });
    if constexpr (!kToActivations) {
      for (int c = 0; c < C; ++c) {
        r.s[c] = _mm256_sub_epi32(r.s[c], with_sums<F>(sub.scales, F::kOffset, x.meta[c]));
      }
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
        r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(low, load256(a)));
        r.s[c] = _mm256_add_epi32(r.s[c], _mm256_madd_epi16(high, load256(a + 32)));
        if constexpr (C > 1) keep(r.s[c]);
      }
    });
    for (int c = 0; c < C; ++c) {
      if constexpr (F::kOffset != 0) r.s[c] = _mm256_sub_epi32(r.s[c], with_sums<F>(sub.scales, F::kOffset, x.meta[c]));
      if constexpr (F::kHasMin && !kMinsOf8<F, A16Meta>) r.m[c] = with_sums<F>(sub.mins, 1, x.meta[c]);
    }
  }

  /// Integer products of a unit of one row (gemv_small.hpp): each 128-bit half holds those of one step.
  template <class F, int N>
  [[gnu::always_inline]] static __m256i unit_products(const __m256i (&u)[N], const UnitX<A8Meta, N>& x) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i p[N];
    for (int i = 0; i < N; ++i) {
      if constexpr (kTakesSigns<F, A8Meta>) {
        p[i] = byte_products<F>(u[i], x.a[i], _mm256_abs_epi8(x.a[i]));  // the same for all rows
      } else {
        p[i] = byte_products<F>(u[i], x.a[i]);
      }
    }
    if constexpr (N == 1) {
      return _mm256_madd_epi16(p[0], ones);
    } else if constexpr (4 * 127 * F::kMaxU <= 32767) {
      return _mm256_madd_epi16(_mm256_add_epi16(p[0], p[1]), ones);
    } else {
      return _mm256_add_epi32(_mm256_madd_epi16(p[0], ones), _mm256_madd_epi16(p[1], ones));
    }
  }
  template <class F, int N>
  [[gnu::always_inline]] static __m256i unit_products(const __m256i (&u)[N], const UnitX<A16Meta, N>& x) {
    __m256i sum{};
    for (int i = 0; i < N; ++i) {
      const Words32 w = widen(u[i]);
      const __m256i p =
          _mm256_add_epi32(_mm256_madd_epi16(w.low, x.a[2 * i]), _mm256_madd_epi16(w.high, x.a[2 * i + 1]));
      sum = i == 0 ? p : _mm256_add_epi32(sum, p);
    }
    return sum;
  }

  /// How many levels of the transposition of a unit's sums of four products fit int16.
  template <class F, class Meta>
  static constexpr int kWordLevels = sizeof(Meta) != sizeof(A8Meta) || kUnitRegisters<F> == 1 ? 0
                                     : 16 * 127 * F::kMaxU <= 32767                           ? 2
                                     : 8 * 127 * F::kMaxU <= 32767                            ? 1
                                                                                              : 0;
  template <class F>
  [[gnu::always_inline]] static __m256i unit_words(const __m256i (&u)[2], const UnitX<A8Meta, 2>& x) {
    return _mm256_add_epi16(byte_products<F>(u[0], x.a[0]), byte_products<F>(u[1], x.a[1]));
  }
  static __m256i widen_sums(__m256i words) { return _mm256_madd_epi16(words, _mm256_set1_epi16(1)); }

  template <class F, class Meta, int C>
  [[gnu::always_inline]] static void unit_sums(const auto& weights, const ChunkX<Meta>& x, int group,
                                               HalfSums (&sums)[C]) {
    unit_sums_by_column<F, Avx2Dot>(weights, x, group, sums);
  }
};

}  // namespace
}  // namespace quantlinear::cpu
