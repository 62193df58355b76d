// GEMV of small-block formats: eight weight rows at a time, blocks read in place, one f32 step per scale.
//
// Work goes in units of two f32 steps: two groups of 32 weights, or one group with two scales. The 128-bit halves of
// the product register belong to one step each, so that one transposition of eight rows serves two steps:
//
//   two groups g, g+1:  u[0] = weights 0..15 of g | 0..15 of g+1,   u[1] = 16..31 of g | 16..31 of g+1
//   one group:          u[0] = weights 0..15 | 16..31
#pragma once

#include "cpu/kernels/x86/column_sums.hpp"
#include "cpu/kernels/x86/fetch.hpp"
#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// Registers of weights in a unit of format F.
template <class F>
inline constexpr int kUnitRegisters = F::kScaleStep == 32 ? 2 : 1;

/// Whether Dot wants activations in an order of its own.
template <class F, class Meta, class Dot>
inline constexpr bool kReorders = requires { requires Dot::template kReorders<F, Meta>; };

/// The activations of one unit in the order of its weights: one register for each of bytes, two of words.
template <class Meta, int N>
struct UnitX {
  static constexpr bool kBytes = sizeof(Meta) == sizeof(A8Meta);
  __m256i a[kBytes ? N : 2 * N];

  UnitX() = default;
  UnitX(const std::int8_t* column, int group, bool in_order_of_unit = false) {
    const std::int8_t* p = column + (kBytes ? 32 : 64) * group;
    if (N == 1 || in_order_of_unit) {
      for (int i = 0; i < (kBytes ? N : 2); ++i) a[i] = load256(p + 32 * i);
    } else if constexpr (kBytes) {
      a[0] = join(p, p + 32);
      a[1] = join(p + 16, p + 48);
    } else {
      // Words of a group lie in the order 0..7, 16..23, 8..15, 24..31.
      constexpr int kOrder[4] = {0, 32, 16, 48};
      for (int i = 0; i < 4; ++i) a[i] = join(p + kOrder[i], p + 64 + kOrder[i]);
    }
  }
  static __m256i join(const std::int8_t* low, const std::int8_t* high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(low)), load128(high), 1);
  }
};

/// half(f(block)) of eight rows as f32.
template <class HalfOf>
[[gnu::always_inline]] inline __m256 unit_halves(const Rows8& rows, const std::uint8_t* block, HalfOf half_of) {
  asm("" : "+r"(block));  // or GCC keeps eight addresses that the weights had, in vector registers
  __m128i v = _mm_cvtsi32_si128(half_of(block));
  unroll<7>([&]<int I>()
                __attribute__((always_inline)) { v = _mm_insert_epi16(v, half_of(rows.row<I + 1>(block)), I + 1); });
  return _mm256_cvtph_ps(v);
}

/// Scale J of a block of eight rows; `block` is that of the first row.
template <class F, int J>
[[gnu::always_inline]] inline __m256 unit_scales(const Rows8& rows, const std::uint8_t* block) {
  if constexpr (requires { F::d_bits(block); }) {
    return unit_halves(rows, block, [](const std::uint8_t* p) { return F::d_bits(p); });
  } else if constexpr (requires { F::kExponentAt; }) {
    const auto byte_of = [&](std::size_t i) { return block + i * rows.stride + F::kExponentAt; };
    return powers8(byte_of);
  } else {
    return _mm256_setr_ps(F::scale(rows.row<0>(block), J), F::scale(rows.row<1>(block), J),
                          F::scale(rows.row<2>(block), J), F::scale(rows.row<3>(block), J),
                          F::scale(rows.row<4>(block), J), F::scale(rows.row<5>(block), J),
                          F::scale(rows.row<6>(block), J), F::scale(rows.row<7>(block), J));
  }
}

/// What the weights of a unit are unpacked with: V, if Dot does not say.
template <class F, class Meta, class Dot>
struct UnitVocabulary {
  using Type = V;
};
template <class F, class Meta, class Dot>
  requires requires { typename Dot::template VocabularyOf<F, Meta>; }
struct UnitVocabulary<F, Meta, Dot> {
  using Type = typename Dot::template VocabularyOf<F, Meta>;
};

/// The weights of one unit of one row.
template <class F>
struct UnitWeights {
  __m256i u[kUnitRegisters<F>];
};
/// `a`: the block of the row that holds group J; `b`: the one that holds the group after it.
template <class F, class Vocabulary, int J>
[[gnu::always_inline]] inline UnitWeights<F> unit_weights(const std::uint8_t* a, const std::uint8_t* b) {
  if constexpr (kUnitRegisters<F> == 1) {
    return {{F::template group<Vocabulary, J>(a)}};
  } else if constexpr (requires { F::template halves<Vocabulary>({a, b}); }) {
    const auto halves = F::template halves<Vocabulary>({a, b});
    return {{halves.first, halves.second}};
  } else {
    const __m256i first = F::template group<Vocabulary, J>(a);
    const __m256i second = F::template group<Vocabulary, (J + 1) % (F::kBlockElements / 32)>(b);
    return {{_mm256_permute2x128_si256(first, second, 0x20), _mm256_permute2x128_si256(first, second, 0x31)}};
  }
}

/// How many levels of the transposition are taken of int16 sums.
template <class F, class Dot, class Meta>
consteval int word_levels() {
  if constexpr (requires { Dot::template kWordLevels<F, Meta>; }) {
    return Dot::template kWordLevels<F, Meta>;
  } else {
    return 0;
  }
}
/// Dwords a0+a1 a2+a3 b0+b1 b2+b3 in each 128-bit lane, each two words that are added by themselves.
[[gnu::always_inline]] inline __m256i pairs_of_words(__m256i a, __m256i b) {
  const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
  return _mm256_add_epi16(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
                          _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
}

/// Dot::unit_sums of instruction sets that multiply one row by one column at a time. Two rows at once, so that the
/// products go into the transposition while they are in registers.
template <class F, class Dot, class Meta, int C>
[[gnu::always_inline]] inline void unit_sums_by_column(const auto& weights, const ChunkX<Meta>& x, int group,
                                                       HalfSums (&sums)[C]) {
  UnitX<Meta, kUnitRegisters<F>> a[C];
  for (int c = 0; c < C; ++c) a[c] = UnitX<Meta, kUnitRegisters<F>>(x.column(c), group, kReorders<F, Meta, Dot>);
  __m256i four[2][C];
  unroll<2>([&]<int H>() __attribute__((always_inline)) {
    unroll<2>([&]<int Q>() __attribute__((always_inline)) {
      const UnitWeights<F> first = weights.template operator()<4 * H + 2 * Q>();
      const UnitWeights<F> second = weights.template operator()<4 * H + 2 * Q + 1>();
      for (int c = 0; c < C; ++c) {
        constexpr int kLevels = word_levels<F, Dot, Meta>();
        if constexpr (kLevels == 0) {
          const __m256i two =
              pairs(Dot::template unit_products<F>(first.u, a[c]), Dot::template unit_products<F>(second.u, a[c]));
          four[H][c] = Q == 0 ? two : pairs(four[H][c], two);
        } else {
          __m256i two =
              pairs_of_words(Dot::template unit_words<F>(first.u, a[c]), Dot::template unit_words<F>(second.u, a[c]));
          if constexpr (kLevels == 1) two = Dot::widen_sums(two);
          if constexpr (Q == 0) {
            four[H][c] = two;
          } else if constexpr (kLevels == 1) {
            four[H][c] = pairs(four[H][c], two);
          } else {
            four[H][c] = Dot::widen_sums(pairs_of_words(four[H][c], two));
          }
        }
      }
    });
  });
  for (int c = 0; c < C; ++c) sums[c] = half_sums(four[0][c], four[1][c]);
}

/// acc[c] += all of k, for eight rows and C columns from c0. Dot offers
///   unit_sums<F>(weights, x, group, sums)   the integer sums of a unit: sums[c].low and .high are those of its two
///                                           steps; weights.operator()<I>() are those of row I
///   kSigned<F, Meta>                        they are sums of q * a; otherwise of u * a
template <class F, class Meta, class Dot, int C>
[[gnu::noinline]] void gemv_small(const ProductArgs& args, const Rows8& all_rows, std::size_t c0, __m256 (&acc)[C]) {
  const Rows8 rows = all_rows;  // copies stay in registers
  __m256 total[C];
  for (int c = 0; c < C; ++c) total[c] = acc[c];
  constexpr int kGroups = F::kBlockElements / 32;  // per block
  constexpr int kChunkBytes = 256 / F::kBlockElements * F::kBlockBytes;
  // With AVX-512 the integer units have enough time.
  constexpr bool kSumsOnce = !kAvx512 && sizeof(Meta) == sizeof(A8Meta);
  const auto stream = RowsAhead::of<F>(args, rows.base, 8);
  for (std::size_t chunk = 0, at = 0; at < args.row_bytes; ++chunk, at += kChunkBytes) {
    const ChunkX<Meta> x(args.x, chunk, c0);
    using Sums = std::conditional_t<kSumsOnce, ColumnSums<F, C>, SumsOnDemand<F, Meta>>;
    [[maybe_unused]] const Sums sums_of_a(x);
    const std::size_t left = args.in_features / 32 - 8 * chunk;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
    auto ahead = stream.template pieces<FetchTo<F>::kTurns>(rows.base, at);
    const std::uint8_t* block = rows.base + at;

    // One f32 step of all columns: step i of the chunk, step I of its block.
    const auto step = [&]<int I>(int i, const std::uint8_t* p, const auto& sum_of) __attribute__((always_inline)) {
      const int g = F::kScaleStep == 32 ? i : i / 2;
      const __m256 d = unit_scales<F, I>(rows, p);
      __m256 min{};
      if constexpr (F::kHasMin) min = unit_halves(rows, p, [](const std::uint8_t* b) { return F::m_bits(b); });
      for (int c = 0; c < C; ++c) {
        const __m256 da = _mm256_broadcast_ss(&x.meta[c].scale[g]);
        __m256i sum = sum_of(c);
        if constexpr (F::kOffset != 0 && !Dot::template kSigned<F, Meta>) {
          sum = _mm256_add_epi32(sum, _mm256_set1_epi32(sums_of_a.at(i, c)));
        }
        total[c] = _mm256_fmadd_ps(_mm256_mul_ps(d, da), _mm256_cvtepi32_ps(sum), total[c]);
        if constexpr (F::kHasMin) {
          const __m256 a = _mm256_cvtepi32_ps(_mm256_set1_epi32(sums_of_a.at(i, c)));
          total[c] = _mm256_fmadd_ps(_mm256_mul_ps(min, da), a, total[c]);
        }
      }
    };
    // Groups g (group J of `block`) and g + 1, or both halves of group g.
    const auto unit = [&]<int J>(int g, const std::uint8_t* next) __attribute__((always_inline)) {
      constexpr int kSteps = 32 / F::kScaleStep;
      // A core waits once too many lines are on their way. So what is fetched with a unit is a chunk of one row, or of
      // two rows a line or so at a time.
      const std::uint8_t* fetched[2] = {ahead.take(), kSteps == 1 ? ahead.take() : nullptr};
      if constexpr (kSteps == 2) prefetch<kChunkBytes, FetchTo<F>::kGemv>(fetched[0]);
      HalfSums sums[C];
      const auto weights = [&]<int I>() __attribute__((always_inline)) {
        using Vocabulary = typename UnitVocabulary<F, Meta, Dot>::Type;
        if constexpr (kSteps == 1) {
          for (int time = 0; time < FetchTo<F>::template kSmallTimes<C>; ++time) {
            prefetch_part<kChunkBytes, I / 2, 4, FetchTo<F>::kGemv>(fetched[I % 2]);
          }
        }
        return unit_weights<F, Vocabulary, J>(rows.row<I>(block), rows.row<I>(next));
      };
      Dot::template unit_sums<F>(weights, x, g, sums);
      step.template operator()<J * kSteps>(g * kSteps, block, [&](int c) { return sums[c].low; });
      // A group without a partner stood in for it, with activations of the padding.
      if (kSteps == 2 || g + 1 < groups) {
        step.template operator()<J * kSteps + 1>(g * kSteps + 1, next, [&](int c) { return sums[c].high; });
      }
    };
    if constexpr (kGroups == 1 && F::kScaleStep == 32) {
#pragma GCC unroll 1
      for (int g = 0; g < groups; g += 2, block += 2 * F::kBlockBytes) {
        unit.template operator()<0>(g, g + 1 < groups ? block + F::kBlockBytes : block);
      }
    } else {
      constexpr int kPerUnit = F::kScaleStep == 32 ? 2 : 1;
#pragma GCC unroll 1
      for (int g = 0; g < groups; g += kGroups, block += F::kBlockBytes) {
        unroll<kGroups / kPerUnit>([&]<int U>() { unit.template operator()<kPerUnit * U>(g + kPerUnit * U, block); });
      }
    }
  }
  for (int c = 0; c < C; ++c) acc[c] = total[c];
}

}  // namespace
}  // namespace quantlinear::cpu
