// GEMM tiles for instruction sets with a four-byte dot product: R::kRows rows (two registers) x kColumns columns.
//
// A step of 4 (bytes) or 2 (words) k is two loads of weights, and one broadcast load and two dot
// products per column: a processor that loads once a cycle needs tiles of two registers. The dot product does not
// saturate, so every format runs 8-bit panels.
#pragma once

#include "cpu/kernels/x86/row_registers.hpp"

namespace quantlinear::cpu {
namespace {

template <class R, int C>
[[gnu::always_inline]] inline void clear(typename R::Int (&v)[C]) {
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) v[c] = R::zero();
}

/// Between two steps of a tile: GCC keeps the results of 12 columns on the stack otherwise, and stores each twice.
[[gnu::always_inline]] inline void forget_tile() { asm volatile("" : : : "memory"); }

/// sum over pairs of factors[i] (int16 pairs of R::kRows rows) * sums[i] (an int16 pair of the column).
template <class R, int N>
[[gnu::always_inline]] inline typename R::Int sums_of(const std::int32_t (*factors)[R::kRows],
                                                      const std::int16_t* sums) {
  typename R::Int total = R::zero();
  for (int i = 0; i < N; ++i) total = R::dot_words(total, R::load(factors[i]), R::broadcast(sums + 2 * i));
  return total;
}

/// Of every sub-block of C columns the sum of the activations times a factor, as dwords to be broadcast: what an offset
/// of the weights adds to the products, taken off; or, where small blocks have mins, the sum itself.
template <class F, class R, int C>
class ColumnSums {
 public:
  [[gnu::always_inline]] explicit ColumnSums(const ChunkX<A8Meta>& x) {
    if constexpr (kFactor != 0) {
      for (int c = 0; c < C; ++c) {
        const std::int16_t* sums = F::kScaleStep == 32 ? x.meta[c].sums32 : x.meta[c].sums16;
        for (int j = 0; j < kSubBlocks; j += 8) {
          const __m256i eight = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + j)));
          store256(at_[c] + j, kFactor == 1 ? eight : _mm256_mullo_epi32(eight, _mm256_set1_epi32(kFactor)));
        }
      }
    }
  }
  /// p[c] = what the products of sub-block j begin with, so that they end as those of weights without an offset.
  [[gnu::always_inline]] void begin(int j, typename R::Int (&p)[C]) const {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) p[c] = F::kOffset == 0 ? R::zero() : R::fill(at_[c][j]);
  }
  [[gnu::always_inline]] typename R::Int sum(int j, int c) const { return R::fill(at_[c][j]); }

 private:
  static constexpr bool kMins = F::kFamily == Family::small_block && F::kHasMin;
  static constexpr int kFactor = F::kOffset != 0 ? -F::kOffset : kMins ? 1 : 0, kSubBlocks = kChunk / F::kScaleStep;
  static_assert(F::kOffset == 0 || !F::kHasMin);
  alignas(32) std::int32_t at_[C][kSubBlocks];
};

template <class F, class R>
struct DotByteTile {
  using Panel = BytePanel<R::kRows>;
  using Meta = A8Meta;
  using Int = typename R::Int;
  /// Super-blocks need two accumulators: of a sub-block, and of all; small blocks with mins need room for two f32
  /// steps.
  static constexpr int kColumns = F::kFamily == Family::super_block || F::kHasMin ? R::kColumnsTwice : R::kColumns;
  static constexpr int kSubSteps = F::kScaleStep / 4;

  /// p[c] += products of the kSubSteps steps from k4 on.
  template <int C>
  [[gnu::always_inline]] static void products(const Panel& panel, int k4, const ChunkX<A8Meta>& x, Int (&p)[C]) {
#pragma GCC unroll 8
    for (int step = 0; step < kSubSteps; ++step) {
      const Int w = R::load(panel.u[k4 + step]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        p[c] = R::dot_bytes(p[c], w, R::broadcast(x.column(c) + 4 * (k4 + step)));
      }
    }
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, ChunkX<A8Meta> x, float* tile) {
    const PanelScales<R::kRows>& s = panel.scales;
    const ColumnSums<F, R, C> sums(x);
    if constexpr (F::kFamily == Family::super_block) {
      Int total[C];
      clear<R>(total);
#pragma GCC unroll 1
      for (int j = 0; j < 256 / F::kScaleStep; ++j) {
        Int p[C];
        sums.begin(j, p);
        products<C>(panel, j * kSubSteps, x, p);
        const Int scale = R::high_words(R::load(s.sub_scale[j]));
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) total[c] = R::add(total[c], R::multiply(p[c], scale));
      }
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        const float da = x.meta[c].scale[0];
        float* t = tile + R::kRows * c;
        R::step(t, s.d[0], da, total[c]);
        if constexpr (F::kHasMin) {
          const Int by_sums = F::kScaleStep == 32 ? sums_of<R, 4>(s.sums_factor, x.meta[c].sums32)
                                                  : sums_of<R, 8>(s.sums_factor, x.meta[c].sums16);
          R::step_minus(t, s.min[0], da, by_sums);
        }
      }
    } else {
      constexpr int kScales = 32 / F::kScaleStep;
#pragma GCC unroll 1
      for (int j = 0; j < groups * kScales; ++j) {
        forget_tile();
        Int p[C];
        sums.begin(j, p);
        products<C>(panel, j * kSubSteps, x, p);
        const int g = j / kScales;
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
          const float da = x.meta[c].scale[g];
          float* t = tile + R::kRows * c;
          R::step(t, s.d[j], da, p[c]);
          if constexpr (F::kHasMin) R::step(t, s.min[g], da, sums.sum(g, c));
        }
      }
    }
  }
};

template <class F, class R>
struct DotWordTile {
  using Panel = WordPanel<R::kRows>;
  using Meta = A16Meta;
  using Int = typename R::Int;
  static constexpr int kColumns = R::kColumns;

  /// p[c] += products of `steps` steps from k2 on.
  template <int C>
  [[gnu::always_inline]] static void accumulate(const Panel& panel, int k2, int steps, const ChunkX<A16Meta>& x,
                                                Int (&p)[C]) {
#pragma GCC unroll 4
    for (int step = k2; step < k2 + steps; ++step) {
      const Int w = R::load(panel.w[step]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        p[c] = R::dot_words(p[c], w, R::broadcast(x.column(c) + 4 * step));
        R::keep(p[c]);
      }
    }
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, ChunkX<A16Meta> x, float* tile) {
    const PanelScales<R::kRows>& s = panel.scales;
    if constexpr (F::kFamily == Family::super_block) {
      Int total[C];
      clear<R>(total);
      accumulate<C>(panel, 0, kChunk / 2, x, total);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        const float da = x.meta[c].scale[0];
        R::step(tile + R::kRows * c, s.d[0], da, total[c]);
        if constexpr (F::kHasMin) {
          const Int by_sums = F::kScaleStep == 32 ? sums_of<R, 8>(s.sums_factor, x.meta[c].split32[0])
                                                  : sums_of<R, 16>(s.sums_factor, x.meta[c].split16[0]);
          R::step_minus(tile + R::kRows * c, s.min[0], da, by_sums);
        }
      }
    } else {
      // In the a16 order weights 0..15 of a group are steps 0..3 and 8..11.
      constexpr int kScales = 32 / F::kScaleStep;
#pragma GCC unroll 1
      for (int j = 0; j < groups * kScales; ++j) {
        forget_tile();
        const int g = j / kScales;
        Int p[C];
        clear<R>(p);
        if constexpr (kScales == 1) {
          accumulate<C>(panel, 16 * g, 16, x, p);
        } else {
          accumulate<C>(panel, 16 * g + 4 * (j % 2), 4, x, p);
          accumulate<C>(panel, 16 * g + 8 + 4 * (j % 2), 4, x, p);
        }
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
          const float da = x.meta[c].scale[g];
          R::step(tile + R::kRows * c, s.d[j], da, p[c]);
          if constexpr (F::kHasMin) R::step(tile + R::kRows * c, s.min[g], da, R::fill(x.meta[c].sums32[g]));
        }
      }
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
