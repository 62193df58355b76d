// The register tiles of the AVX-512 VNNI GEMM: 16 rows in one register x 12 columns.
//
// 12 integer accumulators of the sub-block at hand, 12 totals, the weights and a scale: 26 of 32
// registers. Activations are broadcast by the multiply itself ({1to16}), so a step of 4 (bytes) or
// 2 (words) k is one load and 12 multiply-accumulates. vpdpbusd does not saturate: every format runs
// 8-bit panels.
#pragma once

#include "cpu/kernels/x86/avx512_dot.hpp"
#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

inline __m512i broadcast512(const void* p) {
  std::int32_t value;
  std::memcpy(&value, p, 4);
  return _mm512_set1_epi32(value);
}

/// tile = tile + scale * sum, the canonical step.
inline void f32_step512(float* tile, __m512 scale, __m512i sum) {
  _mm512_storeu_ps(tile, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), _mm512_loadu_ps(tile)));
}
inline void f32_step_minus512(float* tile, __m512 scale, __m512i sum) {
  _mm512_storeu_ps(tile, _mm512_fnmadd_ps(scale, _mm512_cvtepi32_ps(sum), _mm512_loadu_ps(tile)));
}

template <int N>
inline __m512i sums_product512(const std::int32_t (*factors)[kPanelRows], const std::int16_t* sums) {
  __m512i total = _mm512_setzero_si512();
  for (int i = 0; i < N; ++i) total = _mm512_dpwssd_epi32(total, load512(factors[i]), broadcast512(sums + 2 * i));
  return total;
}

inline __m512 scaled(const float* d, float da) { return _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(da)); }

template <class F>
struct Avx512ByteTile {
  using Panel = BytePanel;
  using Meta = A8Meta;
  static constexpr int kColumns = 12;
  static constexpr int kSubSteps = F::kScaleStep / 4;

  /// p[c] = products of the kSubSteps steps from k4 on.
  template <int C>
  [[gnu::always_inline]] static void products(const Panel& panel, int k4, const ChunkX<A8Meta>& x, __m512i (&p)[C]) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) { p[c] = _mm512_setzero_si512(); }
#pragma GCC unroll 8
    for (int step = 0; step < kSubSteps; ++step) {
      const __m512i w = load512(panel.u[k4 + step]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) { p[c] = _mm512_dpbusd_epi32(p[c], w, broadcast512(x.column(c) + 4 * (k4 + step))); }
    }
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, const ChunkX<A8Meta>& x, float* tile) {
    const PanelScales& s = panel.scales;
    if constexpr (F::kFamily == Family::super_block) {
      __m512i total[C];
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) { total[c] = _mm512_setzero_si512(); }
#pragma GCC unroll 1
      for (int j = 0; j < 256 / F::kScaleStep; ++j) {
        __m512i p[C];
        products<C>(panel, j * kSubSteps, x, p);
        const __m512i scale = _mm512_srai_epi32(load512(s.sub_scale[j]), 16);
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) { total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(p[c], scale)); }
      }
      for (int c = 0; c < C; ++c) {
        const float da = x.meta[c].scale[0];
        float* t = tile + 16 * c;
        __m512i by_sums = _mm512_setzero_si512();
        if constexpr (F::kHasMin || F::kOffset != 0) {
          by_sums = F::kScaleStep == 32 ? sums_product512<4>(s.sums_factor, x.meta[c].sums32)
                                        : sums_product512<8>(s.sums_factor, x.meta[c].sums16);
        }
        f32_step512(t, scaled(s.d[0], da), F::kOffset != 0 ? _mm512_sub_epi32(total[c], by_sums) : total[c]);
        if constexpr (F::kHasMin) f32_step_minus512(t, scaled(s.min[0], da), by_sums);
      }
    } else {
      constexpr int kScales = 32 / F::kScaleStep;
#pragma GCC unroll 1
      for (int j = 0; j < groups * kScales; ++j) {
        __m512i p[C];
        products<C>(panel, j * kSubSteps, x, p);
        const int g = j / kScales;
        for (int c = 0; c < C; ++c) {
          const float da = x.meta[c].scale[g];
          const int sum_of_a = kScales == 1 ? x.meta[c].sums32[g] : x.meta[c].sums16[j];
          float* t = tile + 16 * c;
          if constexpr (F::kOffset != 0) p[c] = _mm512_sub_epi32(p[c], _mm512_set1_epi32(F::kOffset * sum_of_a));
          f32_step512(t, scaled(s.d[j], da), p[c]);
          if constexpr (F::kHasMin) f32_step512(t, scaled(s.min[g], da), _mm512_set1_epi32(sum_of_a));
        }
      }
    }
  }
};

template <class F>
struct Avx512WordTile {
  using Panel = WordPanel;
  using Meta = A16Meta;
  static constexpr int kColumns = 12;

  /// p[c] += products of `steps` steps from k2 on.
  template <int C>
  [[gnu::always_inline]] static void accumulate(const Panel& panel, int k2, int steps, const ChunkX<A16Meta>& x,
                                                __m512i (&p)[C]) {
#pragma GCC unroll 4
    for (int step = k2; step < k2 + steps; ++step) {
      const __m512i w = load512(panel.w[step]);
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) { p[c] = _mm512_dpwssd_epi32(p[c], w, broadcast512(x.column(c) + 4 * step)); }
    }
  }

  template <int C>
  [[gnu::noinline]] static void chunk(const Panel& panel, int groups, const ChunkX<A16Meta>& x, float* tile) {
    const PanelScales& s = panel.scales;
    if constexpr (F::kFamily == Family::super_block) {
      __m512i total[C];
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) { total[c] = _mm512_setzero_si512(); }
      accumulate<C>(panel, 0, kChunk / 2, x, total);
      for (int c = 0; c < C; ++c) {
        const float da = x.meta[c].scale[0];
        f32_step512(tile + 16 * c, scaled(s.d[0], da), total[c]);
        if constexpr (F::kHasMin) {
          const __m512i by_sums = F::kScaleStep == 32 ? sums_product512<8>(s.sums_factor, x.meta[c].split32[0])
                                                      : sums_product512<16>(s.sums_factor, x.meta[c].split16[0]);
          f32_step_minus512(tile + 16 * c, scaled(s.min[0], da), by_sums);
        }
      }
    } else {
      // In the a16 order weights 0..15 of a group are steps 0..3 and 8..11.
      constexpr int kScales = 32 / F::kScaleStep;
#pragma GCC unroll 1
      for (int j = 0; j < groups * kScales; ++j) {
        const int g = j / kScales;
        __m512i p[C];
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) { p[c] = _mm512_setzero_si512(); }
        if constexpr (kScales == 1) {
          accumulate<C>(panel, 16 * g, 16, x, p);
        } else {
          accumulate<C>(panel, 16 * g + 4 * (j % 2), 4, x, p);
          accumulate<C>(panel, 16 * g + 8 + 4 * (j % 2), 4, x, p);
        }
        for (int c = 0; c < C; ++c) {
          const float da = x.meta[c].scale[g];
          f32_step512(tile + 16 * c, scaled(s.d[j], da), p[c]);
          if constexpr (F::kHasMin) {
            f32_step512(tile + 16 * c, scaled(s.min[g], da), _mm512_set1_epi32(x.meta[c].sums32[g]));
          }
        }
      }
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
