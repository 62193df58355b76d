// The register tiles of the AVX2 GEMM: 16 rows x 4 columns.
//
// Bytes (vpmaddubsw). Products of u <= kMaxU with a <= 127 are summed kSteps deep in int16 before a
// vpmaddwd with the sub-scale widens them: 1 + 1/kSteps multiplies per 32 products instead of 2.
//   kSteps = 32767 / (2 * 127 * kMaxU): 8 for 4-bit, 4 for 5-bit, 2 for 6-bit weights.
// Where weights have an offset, a sum begins with what that adds too much (A8PairMeta). Addition wraps around, so only
// the sum of (u - offset) * a has to fit in the end: 8 for Q5_0, 4 for Q6_K; and nothing is left to be taken off.
// Words (vpmaddwd): weights already carry offset and sub-scale; nothing but multiply-add. Of a16, and of a8 where two
// products of bytes do not fit int16: 2 multiplies per 32 products, where signs (vpsignb) would make it 3.
#pragma once

#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

/// The compiler must not reorder or merge what is on both sides: keeps the accumulators that live in
/// memory there.
[[gnu::always_inline]] inline void keep_in_memory() { asm volatile("" ::: "memory"); }
/// Two values in registers, and what is before it stays there. Zen 3 takes 10 to 15 % longer for multiplications and
/// additions in turn, which is how GCC orders them, than for two and two (docs/performance-log.md).
[[gnu::always_inline]] inline void keep_order(__m256i& a, __m256i& b) { asm volatile("" : "+x"(a), "+x"(b)); }

/// sums += scales * products of u and a, each product widened by itself.
[[gnu::always_inline]] inline void add_widened(__m256i& sum0, __m256i& sum1, __m256i u0, __m256i u1, __m256i a0,
                                               __m256i a1, __m256i scale0, __m256i scale1) {
  __m256i p0 = _mm256_maddubs_epi16(u0, a0), p1 = _mm256_maddubs_epi16(u1, a1);
  keep_order(p0, p1);
  p0 = _mm256_madd_epi16(p0, scale0), p1 = _mm256_madd_epi16(p1, scale1);
  keep_order(p0, p1);
  sum0 = _mm256_add_epi32(sum0, p0);
  sum1 = _mm256_add_epi32(sum1, p1);
  keep_order(sum0, sum1);
}

template <int C>
[[gnu::always_inline]] inline void clear(__m256i (&total)[C][2]) {
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) total[c][0] = total[c][1] = _mm256_setzero_si256();
}

/// acc +- scale * sum, the canonical step.
[[gnu::always_inline]] inline __m256 f32_step(__m256 acc, __m256 scale, __m256i sum) {
  return _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum), acc);
}
[[gnu::always_inline]] inline __m256 f32_step_minus(__m256 acc, __m256 scale, __m256i sum) {
  return _mm256_fnmadd_ps(scale, _mm256_cvtepi32_ps(sum), acc);
}

/// Adds group `group` of 32 k of small blocks, scale j of the panel, to tile [column][row]: total[c] are its integer
/// sums of 16 rows. A column's pointers, and its sum as f32, are taken once for both halves: compilers take it that a
/// store to the tile may change them.
template <class F, class Meta, int C>
[[gnu::always_inline]] inline void add_group(const PanelScales<16>& s, int group, int j, const Meta* meta,
                                             const __m256i (&total)[C][2], float* tile) {
  for (int c = 0; c < C; ++c) {
    const __m256 da = _mm256_broadcast_ss(&meta[c].scale[group]);
    __m256 sum_of_a{};
    if constexpr (F::kHasMin) sum_of_a = _mm256_set1_ps(static_cast<float>(meta[c].sums32[group]));
    for (int h = 0; h < 2; ++h) {
      float* t = tile + 16 * c + 8 * h;
      __m256 acc = f32_step(_mm256_loadu_ps(t), _mm256_mul_ps(_mm256_load_ps(&s.d[j][8 * h]), da), total[c][h]);
      if constexpr (F::kHasMin) {
        acc = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_load_ps(&s.min[group][8 * h]), da), sum_of_a, acc);
      }
      _mm256_storeu_ps(t, acc);
    }
  }
}

/// sum over pairs of factors[i] (int16 pairs of 8 rows) * sums[i] (int16 pair of the column).
template <int N>
[[gnu::always_inline]] inline __m256i sums_product(const std::int32_t (*factors)[16], int half,
                                                   const std::int16_t* sums) {
  __m256i total = _mm256_setzero_si256();
  for (int i = 0; i < N; ++i) {
    total = _mm256_add_epi32(total, _mm256_madd_epi16(load256(&factors[i][8 * half]), broadcast32(sums + 2 * i)));
  }
  return total;
}

template <class F>
struct Avx2ByteTile {
  static constexpr int kColumns = 4;
  static constexpr int kSubSteps = F::kScaleStep / 4;  // steps of 4 k per sub-block
  /// How many steps fit if weights are up to `largest`.
  static constexpr int steps_of(int largest) {
    const int fit = 32767 / (2 * 127 * largest);
    return fit >= kSubSteps ? kSubSteps : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  }
  static_assert(2 * 127 * F::kMaxU <= 32767);  // of one step, which saturates
  static constexpr int kSigned = steps_of(F::kOffset > F::kMaxU - F::kOffset ? F::kOffset : F::kMaxU - F::kOffset);
  static constexpr int kPairStep = F::kOffset != 0 && kSigned >= 4 ? 4 * kSigned : 0;
  static constexpr bool kPairs = kPairStep != 0;
  static constexpr int kSteps = kPairs ? kSigned : steps_of(F::kMaxU);
  using Panel = BytePanel<16, F::kOffset != 0 && !kPairs>;
  using Meta = std::conditional_t<kPairs, A8PairMeta, A8Meta>;
  using Columns = ChunkX<Meta>;

  /// The products of kSteps steps from step k4 on, 16 rows x C columns, in int16.
  template <int C>
  [[gnu::always_inline]] static void products(const Panel& panel, int k4, const Columns& x, __m256i (&p)[C][2]) {
#pragma GCC unroll 8
    for (int step = 0; step < kSteps; ++step) {
      const __m256i w0 = load256(panel.u[k4 + step][0]), w1 = load256(panel.u[k4 + step][8]);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const __m256i a = broadcast32(x.column(c) + 4 * (k4 + step));
        __m256i p0 = _mm256_maddubs_epi16(w0, a), p1 = _mm256_maddubs_epi16(w1, a);
        keep_order(p0, p1);
        if constexpr (kPairs) {
          if (step == 0) p[c][0] = p[c][1] = broadcast32(x.meta[c].pairs[k4 / kSteps]);
        }
        p[c][0] = step == 0 && !kPairs ? p0 : _mm256_add_epi16(p[c][0], p0);
        p[c][1] = step == 0 && !kPairs ? p1 : _mm256_add_epi16(p[c][1], p1);
        keep_order(p[c][0], p[c][1]);
      }
    }
  }

  /// total[c] (+)= scale(j) * products of kSteps steps from k4 on; those of the first are the total itself, where it
  /// `Begins`.
  template <bool Begins, int C>
  [[gnu::always_inline]] static void add_products(const Panel& panel, int k4, const Columns& x, __m256i (&total)[C][2],
                                                  const auto& scale_of) {
    __m256i p[C][2];
    products<C>(panel, k4, x, p);
    for (int h = 0; h < 2; ++h) {
      const __m256i scale = scale_of(k4, h);
      for (int c = 0; c < C; ++c) {
        const __m256i more = _mm256_madd_epi16(p[c][h], scale);
        total[c][h] = Begins ? more : _mm256_add_epi32(total[c][h], more);
      }
    }
    if constexpr (kSteps >= 4) keep_in_memory();
  }

  /// total[c] = sum over Steps steps from k4 on of scale(j) * products.
  template <int Steps, int C>
  [[gnu::always_inline]] static void accumulate(const Panel& panel, int k4, const Columns& x, __m256i (&total)[C][2],
                                                const auto& scale_of) {
    if constexpr (kSteps == 1) {
      accumulate_each<C>(panel, k4, k4 + Steps, x, total, scale_of);
    } else if constexpr (Steps <= 2 * kSteps) {
      add_products<true>(panel, k4, x, total, scale_of);
      if constexpr (Steps > kSteps) add_products<false>(panel, k4 + kSteps, x, total, scale_of);
    } else {
      clear(total);
      if constexpr (kSteps >= 4) keep_in_memory();
#pragma GCC unroll 1
      for (const int end = k4 + Steps; k4 < end; k4 += kSteps) {
        add_products<false>(panel, k4, x, total, scale_of);
      }
    }
  }

  /// Where nothing is summed in int16: products are widened one by one, and the totals are in registers.
  template <int C>
  [[gnu::always_inline]] static void accumulate_each(const Panel& panel, int k4, int end, const Columns& x,
                                                     __m256i (&total)[C][2], const auto& scale_of) {
    __m256i sum[C][2];
    clear(sum);
#pragma GCC unroll 1
    for (; k4 < end; k4 += 4) {
      const __m256i scale0 = scale_of(k4, 0), scale1 = scale_of(k4, 1);
#pragma GCC unroll 4
      for (int step = 0; step < 4; ++step) {
        const __m256i w0 = load256(panel.u[k4 + step][0]), w1 = load256(panel.u[k4 + step][8]);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const __m256i a = broadcast32(x.column(c) + 4 * (k4 + step));
          add_widened(sum[c][0], sum[c][1], w0, w1, a, a, scale0, scale1);
        }
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) total[c][0] = sum[c][0], total[c][1] = sum[c][1];
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, const Columns& x, float* tile) {
    alignas(32) __m256i total[C][2];
    const PanelScales<16>& s = panel.scales;
    if constexpr (F::kFamily == Family::super_block) {
      accumulate<kChunk / 4>(panel, 0, x, total,
                             [&](int k4, int h) { return load256(&s.sub_scale[k4 / kSubSteps][8 * h]); });
      for (int c = 0; c < C; ++c) {
        const __m256 da = _mm256_broadcast_ss(&x.meta[c].scale[0]);
        for (int h = 0; h < 2; ++h) {
          float* t = tile + 16 * c + 8 * h;
          __m256i by_sums = _mm256_setzero_si256();
          if constexpr (F::kHasMin || (F::kOffset != 0 && !kPairs)) {
            by_sums = F::kScaleStep == 32 ? sums_product<4>(s.sums_factor, h, x.meta[c].sums32)
                                          : sums_product<8>(s.sums_factor, h, x.meta[c].sums16);
          }
          const __m256i sum = F::kOffset != 0 && !kPairs ? _mm256_sub_epi32(total[c][h], by_sums) : total[c][h];
          _mm256_storeu_ps(t, f32_step(_mm256_loadu_ps(t), _mm256_mul_ps(_mm256_load_ps(&s.d[0][8 * h]), da), sum));
          if constexpr (F::kHasMin) {
            const __m256 min = _mm256_mul_ps(_mm256_load_ps(&s.min[0][8 * h]), da);
            _mm256_storeu_ps(t, f32_step_minus(_mm256_loadu_ps(t), min, by_sums));
          }
        }
      }
    } else {
      constexpr int kScales = 32 / F::kScaleStep;  // per group
      for (int j = 0; j < groups * kScales; ++j) {
        accumulate<kSubSteps>(panel, j * kSubSteps, x, total, [](int, int) { return _mm256_set1_epi16(1); });
        const int g = j / kScales;
        if constexpr (F::kOffset != 0 && !kPairs) {
          for (int c = 0; c < C; ++c) {
            const int sum = kScales == 1 ? x.meta[c].sums32[g] : x.meta[c].sums16[j];
            const __m256i too_much = _mm256_set1_epi32(F::kOffset * sum);
            for (int h = 0; h < 2; ++h) total[c][h] = _mm256_sub_epi32(total[c][h], too_much);
          }
        }
        add_group<F>(s, g, j, x.meta, total, tile);
      }
    }
  }
};

template <class F>
struct Avx2WordTile {
  using Panel = WordPanel<16>;
  using Meta = A16Meta;
  static constexpr int kColumns = 4;
  /// Steps in a turn of the loop: Zen 3 predicts the end of 32 turns wrongly.
  static constexpr int kTurn = 8;

  /// sum (+)= the products of kSteps steps; those of the first are the sum itself, where it `Begins`.
  template <int kSteps, bool Begins, int C>
  [[gnu::always_inline]] static void steps(const Panel& panel, int k2, const ChunkX<A16Meta>& x, __m256i (&sum)[C][2]) {
#pragma GCC unroll 16
    for (int step = 0; step < kSteps; ++step) {
      const __m256i w0 = load256(panel.w[k2 + step][0]), w1 = load256(panel.w[k2 + step][8]);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const __m256i a = broadcast32(x.column(c) + 4 * (k2 + step));
        __m256i p0 = _mm256_madd_epi16(w0, a), p1 = _mm256_madd_epi16(w1, a);
        keep_order(p0, p1);
        sum[c][0] = Begins && step == 0 ? p0 : _mm256_add_epi32(sum[c][0], p0);
        sum[c][1] = Begins && step == 0 ? p1 : _mm256_add_epi32(sum[c][1], p1);
        keep_order(sum[c][0], sum[c][1]);
      }
    }
  }
  /// total[c] = the products of Steps steps from k2 on: of a chunk in a loop, the few of a small block one by one.
  template <int Steps, int C>
  [[gnu::always_inline]] static void accumulate(const Panel& panel, int k2, const ChunkX<A16Meta>& x,
                                                __m256i (&total)[C][2]) {
    __m256i sum[C][2];
    if constexpr (Steps <= 16) {
      steps<Steps, true>(panel, k2, x, sum);
    } else {
      clear(sum);
#pragma GCC unroll 1
      for (const int end = k2 + Steps; k2 < end; k2 += kTurn) steps<kTurn, false>(panel, k2, x, sum);
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) total[c][0] = sum[c][0], total[c][1] = sum[c][1];
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, const ChunkX<A16Meta>& x, float* tile) {
    __m256i total[C][2];
    const PanelScales<16>& s = panel.scales;
    if constexpr (F::kFamily == Family::super_block) {
      accumulate<kChunk / 2>(panel, 0, x, total);
      for (int c = 0; c < C; ++c) {
        const __m256 da = _mm256_broadcast_ss(&x.meta[c].scale[0]);
        for (int h = 0; h < 2; ++h) {
          float* t = tile + 16 * c + 8 * h;
          __m256 acc = f32_step(_mm256_loadu_ps(t), _mm256_mul_ps(_mm256_load_ps(&s.d[0][8 * h]), da), total[c][h]);
          if constexpr (F::kHasMin) {
            const __m256i by_sums = F::kScaleStep == 32 ? sums_product<8>(s.sums_factor, h, x.meta[c].split32[0])
                                                        : sums_product<16>(s.sums_factor, h, x.meta[c].split16[0]);
            acc = f32_step_minus(acc, _mm256_mul_ps(_mm256_load_ps(&s.min[0][8 * h]), da), by_sums);
          }
          _mm256_storeu_ps(t, acc);
        }
      }
    } else if constexpr (F::kScaleStep == 32) {
      for (int g = 0; g < groups; ++g) {
        keep_in_memory();
        accumulate<16>(panel, 16 * g, x, total);
        add_group<F>(s, g, g, x.meta, total, tile);
      }
    } else {
      // Scales per 16: in the a16 order weights 0..15 of a group are steps 0..3 and 8..11.
      for (int g = 0; g < groups; ++g) {
        for (int part = 0; part < 2; ++part) {
          __m256i more[C][2];
          accumulate<4>(panel, 16 * g + 4 * part, x, total);
          accumulate<4>(panel, 16 * g + 8 + 4 * part, x, more);
          for (int c = 0; c < C; ++c) {
            for (int h = 0; h < 2; ++h) total[c][h] = _mm256_add_epi32(total[c][h], more[c][h]);
          }
          add_group<F>(s, g, 2 * g + part, x.meta, total, tile);
        }
      }
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
