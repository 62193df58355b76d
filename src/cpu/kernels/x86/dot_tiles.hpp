// GEMM tiles for instruction sets with a four-byte dot product: R::kRows rows (two registers) x kColumns columns.
//
// A step of 4 (bytes) or 2 (words) k is two loads of weights, and one broadcast load and two dot
// products per column: a processor that loads once a cycle needs tiles of two registers. The dot product does not
// saturate, so every format runs 8-bit panels.
#pragma once

#include "cpu/kernels/x86/column_sums.hpp"
#include "cpu/kernels/x86/row_registers.hpp"

namespace quantlinear::cpu {
namespace {

template <class R, int C>
[[gnu::always_inline]] inline void clear(typename R::Int (&v)[C]) {
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) v[c] = R::zero();
}

/// sum over pairs of factors[i] (int16 pairs of R::kRows rows) * sums[i] (an int16 pair of the column).
template <class R, int N>
[[gnu::always_inline]] inline typename R::Int sums_of(const std::int32_t (*factors)[R::kRows],
                                                      const std::int16_t* sums) {
  typename R::Int total = R::zero();
  for (int i = 0; i < N; ++i) total = R::dot_words(total, R::load(factors[i]), R::broadcast(sums + 2 * i));
  return total;
}

/// Sum of the 256 activations of a chunk.
[[gnu::always_inline]] inline std::int32_t sum_of_256(const A8Meta& meta) {
  const __m128i fours = _mm_madd_epi16(load128(meta.sums32), _mm_set1_epi16(1));
  const __m128i twos = _mm_add_epi32(fours, _mm_shuffle_epi32(fours, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(twos, _mm_shuffle_epi32(twos, 0xb1)));
}

/// Adds small blocks to tile [column][row], the rows of one register after those of the other: results stay in
/// registers for all groups. products(row, j, p): p[c] = the integer sums of scale j; sum_of(g, c): of the activations
/// of a group.
template <class F, class R, int C, class Meta>
[[gnu::always_inline]] inline void small_blocks(const PanelScales<R::kRows>& s, int groups, const ChunkX<Meta>& x,
                                                float* tile, const auto& products, const auto& sum_of) {
  using L = typename R::Lanes;
  constexpr int kScales = 32 / F::kScaleStep;
#pragma GCC unroll 1
  for (std::size_t row = 0; row < R::kRows; row += L::kRows) {
    typename L::Floats total[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) total[c] = L::load_floats(tile + R::kRows * c + row);
#pragma GCC unroll 1
    for (int j = 0; j < groups * kScales; ++j) {
      typename L::Reg p[C];
      products(row, j, p);
      const int g = j / kScales;
      const auto d = L::load_floats(&s.d[j][row]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        const auto da = L::fill_floats(x.meta[c].scale[g]);
        total[c] = L::step(total[c], L::multiply_floats(d, da), p[c]);
        if constexpr (F::kHasMin) {
          const auto min = L::multiply_floats(L::load_floats(&s.min[g][row]), da);
          total[c] = L::step(total[c], min, L::fill32(sum_of(g, c)));
        }
      }
    }
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) L::store_floats(tile + R::kRows * c + row, total[c]);
  }
}

/// Fold: whether sub-scales are folded into the weights, where they can be.
template <class F, class R, bool Fold = true>
struct DotByteTile {
  static constexpr bool kFolded = Fold && Folded<F>::kFits;
  using Panel = std::conditional_t<kFolded, FoldedBytePanel<R::kRows>, BytePanel<R::kRows>>;
  using Meta = A8Meta;
  using Int = typename R::Int;
  /// A column takes two accumulators, each a pair of registers: of a sub-block, and of all; one where sub-scales are
  /// folded; and small blocks take one pair: integers, and results.
  static constexpr int kColumns = F::kFamily == Family::super_block && !kFolded ? R::kColumnsTwice : R::kColumns;
  static constexpr int kSubSteps = F::kScaleStep / 4;

  /// p[c] += products of the Steps steps from k4 on.
  template <int Steps, int C>
  [[gnu::always_inline]] static void products(const Panel& panel, int k4, const ChunkX<A8Meta>& x, Int (&p)[C]) {
#pragma GCC unroll 8
    for (int step = 0; step < Steps; ++step) {
      const Int w = R::load(panel.u[k4 + step]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        p[c] = R::dot_bytes(p[c], w, R::broadcast(x.column(c) + 4 * (k4 + step)));
        if constexpr (kFolded) R::keep(p[c]);
      }
    }
  }

  /// total[c] = the integer sum of a super-block.
  template <int C>
  [[gnu::always_inline]] static void sum_up(const Panel& panel, const ChunkX<A8Meta>& x, Int (&total)[C]) {
    if constexpr (kFolded) {
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        total[c] = F::kOffset == 0 ? R::zero() : R::fill(-Folded<F>::kBias * sum_of_256(x.meta[c]));
      }
#pragma GCC unroll 4
      for (int k4 = 0; k4 < static_cast<int>(kChunk) / 4; ++k4) products<1>(panel, k4, x, total);
    } else {
      const ColumnSums<F, C> sums(x);
      clear<R>(total);
#pragma GCC unroll 1
      for (int j = 0; j < 256 / F::kScaleStep; ++j) {
        Int p[C];
        sums.template begin<R>(j, p);
        products<kSubSteps>(panel, j * kSubSteps, x, p);
        const Int scale = R::high_words(R::load(panel.scales.sub_scale[j]));
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) total[c] = R::add(total[c], R::multiply(p[c], scale));
      }
    }
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, ChunkX<A8Meta> x, float* tile) {
    const PanelScales<R::kRows>& s = panel.scales;
    if constexpr (F::kFamily == Family::super_block) {
      Int total[C];
      sum_up<C>(panel, x, total);
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
      using L = typename R::Lanes;
      const ColumnSums<F, C> sums(x);
      const auto products = [&](std::size_t row, int j, auto& p) __attribute__((always_inline)) {
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) p[c] = F::kOffset == 0 ? L::zero() : L::fill32(sums.at(j, c));
#pragma GCC unroll 8
        for (int k4 = j * kSubSteps; k4 < (j + 1) * kSubSteps; ++k4) {
          const auto w = L::load(panel.u[k4][row]);
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) p[c] = L::dot_bytes(p[c], w, x.column(c) + 4 * k4);
        }
      };
      small_blocks<F, R, C>(s, groups, x, tile, products, [&](int g, int c) { return sums.at(g, c); });
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
      using L = typename R::Lanes;
      constexpr int kScales = 32 / F::kScaleStep;
      const auto products = [&](std::size_t row, int j, auto& p) __attribute__((always_inline)) {
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) p[c] = L::zero();
#pragma GCC unroll 16
        for (int i = 0; i < 16 / kScales; ++i) {
          const int step = kScales == 1 ? 16 * j + i : 16 * (j / 2) + 4 * (j % 2) + (i < 4 ? i : i + 4);
          const auto w = L::load(reinterpret_cast<const std::uint8_t*>(panel.w[step][row]));
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) p[c] = L::dot_words(p[c], w, x.column(c) + 4 * step);
        }
      };
      small_blocks<F, R, C>(s, groups, x, tile, products, [&](int g, int c) { return x.meta[c].sums32[g]; });
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
