// GEMM tiles: eight rows x C columns (C = 4 or 2) of 32-bit sums in 2 C registers.
//
// Two ways to multiply, with the same interface (SdotTile, SmmlaTile):
//   multiply16   p += 16 k of a half panel times C columns of signed bytes
//   rows         the values of eight rows as they meet register i of p
//   to_rows      p to the layout [row / 4][column] of four rows a register, if it is another
//
// a8 multiplies bytes. a16 multiplies bytes twice: with a = 256 h + l + 128, h and l signed bytes,
//   sum q a = 256 * sum q h + sum q l + 128 * sum q,
// and the last sum is the panel's. Two sdot of 16 products cost half of four smlal of 4.
#pragma once

#include <type_traits>

#include "cpu/kernels/arm/panel.hpp"

namespace quantlinear::cpu {
namespace {

/// sdot by lane: four rows of four k times four k of one column. p[4-row half * C + column].
struct SdotTile {
  static constexpr int kStep = 4;

  template <int C>
  [[gnu::always_inline]] static void multiply16(const std::int8_t* w, const std::int8_t* const (&x)[C], std::size_t k,
                                                int32x4_t (&p)[2 * C]) {
    fence();
    int8x16_t a[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) a[c] = vld1q_s8(x[c] + k);
    unroll<4>([&]<int L>() {
      const int8x16_t low = vld1q_s8(w + 32 * L), high = vld1q_s8(w + 32 * L + 16);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        p[c] = vdotq_laneq_s32(p[c], low, a[c], L);
        p[C + c] = vdotq_laneq_s32(p[C + c], high, a[c], L);
      }
    });
  }
  template <int C>
  [[gnu::always_inline]] static int32x4_t rows(const std::int32_t* values, int i) {
    return vld1q_s32(values + 4 * (i / C));
  }
  template <int C>
  [[gnu::always_inline]] static void to_rows(int32x4_t (&)[2 * C]) {}
};

#if defined(__ARM_FEATURE_MATMUL_INT8)
/// smmla: two columns of eight k times two rows. p[row pair * C/2 + column pair] holds c0r0 c0r1 c1r0 c1r1.
struct SmmlaTile {
  static constexpr int kStep = 8;

  template <int C>
  [[gnu::always_inline]] static void multiply16(const std::int8_t* w, const std::int8_t* const (&x)[C], std::size_t k,
                                                int32x4_t (&p)[2 * C]) {
    fence();
    int8x16_t a[2][C / 2];
#pragma GCC unroll 2
    for (int c = 0; c < C / 2; ++c) {
      const int64x2_t first = vreinterpretq_s64_s8(vld1q_s8(x[2 * c] + k));
      const int64x2_t second = vreinterpretq_s64_s8(vld1q_s8(x[2 * c + 1] + k));
      a[0][c] = vreinterpretq_s8_s64(vzip1q_s64(first, second));
      a[1][c] = vreinterpretq_s8_s64(vzip2q_s64(first, second));
    }
#pragma GCC unroll 2
    for (int step = 0; step < 2; ++step) {
#pragma GCC unroll 4
      for (int pair = 0; pair < 4; ++pair) {
        const int8x16_t v = vld1q_s8(w + 64 * step + 16 * pair);
#pragma GCC unroll 2
        for (int c = 0; c < C / 2; ++c) p[pair * (C / 2) + c] = vmmlaq_s32(p[pair * (C / 2) + c], a[step][c], v);
      }
    }
  }
  template <int C>
  [[gnu::always_inline]] static int32x4_t rows(const std::int32_t* values, int i) {
    const int32x2_t pair = vld1_s32(values + 2 * (i / (C / 2)));
    return vcombine_s32(pair, pair);
  }
  template <int C>
  [[gnu::always_inline]] static void to_rows(int32x4_t (&p)[2 * C]) {
    int32x4_t q[2 * C];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 2
      for (int c = 0; c < C / 2; ++c) {
        const int64x2_t a = vreinterpretq_s64_s32(p[half * C + c]);
        const int64x2_t b = vreinterpretq_s64_s32(p[half * C + C / 2 + c]);
        q[half * C + 2 * c] = vreinterpretq_s32_s64(vzip1q_s64(a, b));
        q[half * C + 2 * c + 1] = vreinterpretq_s32_s64(vzip2q_s64(a, b));
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 2 * C; ++i) p[i] = q[i];
  }
};
#endif

/// C columns of one chunk; a column that does not exist repeats the last one.
template <class Meta, int C>
struct Columns {
  const std::int8_t* x[C];  ///< a8: 256 bytes; a16: 256 bytes h, then 256 bytes l
  const Meta* meta[C];
};

/// Sums of activations over sub-blocks 4 part .. 4 part + 3.
template <class F>
[[gnu::always_inline]] inline int32x4_t sums_of_a(const A8Meta& meta, int part) {
  return vmovl_s16(vld1_s16((F::kScaleStep == 32 ? meta.sums32 : meta.sums16) + 4 * part));
}
template <class F>
[[gnu::always_inline]] inline int32x4_t sums_of_a(const A16Meta& meta, int part) {
  return vld1q_s32((F::kScaleStep == 32 ? meta.sums32 : meta.sums16) + 4 * part);
}

template <class F, class Tile, class Meta>
struct ChunkTile {
  static constexpr bool kA16 = std::is_same_v<Meta, A16Meta>;
  static constexpr std::size_t kStep = F::kScaleStep;

  /// p = sums of q a over the weights of scale j; for a16 of super-blocks less what the panel's start adds.
  template <int C>
  [[gnu::always_inline]] static void scale_sums(const HalfPanel& panel, std::size_t j, const Columns<Meta, C>& x,
                                                int32x4_t (&p)[2 * C]) {
    const std::int8_t* w = panel.w + 8 * kStep * j;
#pragma GCC unroll 8
    for (int i = 0; i < 2 * C; ++i) p[i] = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (std::size_t k = 0; k < kStep; k += 16) Tile::template multiply16<C>(w + 8 * k, x.x, kStep * j + k, p);
    if constexpr (kA16) {
#pragma GCC unroll 8
      for (int i = 0; i < 2 * C; ++i) {
        p[i] = vshlq_n_s32(p[i], 8);
        if constexpr (F::kFamily == Family::small_block) {
          p[i] = vaddq_s32(p[i], Tile::template rows<C>(panel.start[j], i));
        }
      }
#pragma GCC unroll 2
      for (std::size_t k = 0; k < kStep; k += 16) {
        Tile::template multiply16<C>(w + 8 * k, x.x, kChunk + kStep * j + k, p);
      }
    }
    fence();
  }

  /// Adds one chunk of eight rows and C columns to tile [column][16].
  template <int C>
  [[gnu::noinline]] static void super_block(const HalfPanel& panel, const Columns<Meta, C>& columns, float* tile) {
    const Columns<Meta, C> x = columns;  // a copy stays in registers across a fence
    int32x4_t total[2 * C];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * C; ++i) total[i] = kA16 ? Tile::template rows<C>(panel.start[0], i) : vdupq_n_s32(0);
#pragma GCC unroll 1
    for (std::size_t j = 0; j < kChunk / kStep; ++j) {
      int32x4_t p[2 * C];
      scale_sums<C>(panel, j, x, p);
#pragma GCC unroll 8
      for (int i = 0; i < 2 * C; ++i) {
        total[i] = vmlaq_s32(total[i], p[i], Tile::template rows<C>(panel.sub_scale[j], i));
      }
    }
    Tile::template to_rows<C>(total);
    step<C>(panel.d[0], x, total, tile, 1.0f);
    if constexpr (F::kHasMin) {
      int32x4_t m[2 * C];
#pragma GCC unroll 8
      for (int i = 0; i < 2 * C; ++i) m[i] = vdupq_n_s32(0);
#pragma GCC unroll 1
      for (int part = 0; part < static_cast<int>(kChunk / kStep) / 4; ++part) {
        int32x4_t sums[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[c] = sums_of_a<F>(*x.meta[c], part);
        unroll<4>([&]<int L>() {
          const std::int32_t* mins = panel.mins[4 * part + L];
          const int32x4_t low = vld1q_s32(mins), high = vld1q_s32(mins + 4);
#pragma GCC unroll 4
          for (int c = 0; c < C; ++c) {
            m[c] = vmlaq_laneq_s32(m[c], low, sums[c], L);
            m[C + c] = vmlaq_laneq_s32(m[C + c], high, sums[c], L);
          }
        });
      }
      step<C>(panel.min[0], x, m, tile, -1.0f);
    }
  }

  /// tile = fma(sign * (d * scale of x), float(sum), tile).
  template <int C>
  [[gnu::always_inline]] static void step(const float* d, const Columns<Meta, C>& x, const int32x4_t (&sum)[2 * C],
                                          float* tile, float sign) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * C; ++i) {
      float* t = tile + 16 * (i % C) + 4 * (i / C);
      const float32x4_t scale = vmulq_n_f32(vld1q_f32(d + 4 * (i / C)), sign * x.meta[i % C]->scale[0]);
      vst1q_f32(t, vfmaq_f32(vld1q_f32(t), scale, vcvtq_f32_s32(sum[i])));
    }
  }

  /// The same for small blocks: a step of the f32 chain per scale.
  template <int C>
  [[gnu::noinline]] static void small_blocks(const HalfPanel& panel, std::size_t groups,
                                             const Columns<Meta, C>& columns, float* tile) {
    const Columns<Meta, C> x = columns;
    constexpr std::size_t kScales = 32 / kStep;  // per group
    float32x4_t acc[2 * C];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * C; ++i) acc[i] = vld1q_f32(tile + 16 * (i % C) + 4 * (i / C));
#pragma GCC unroll 1
    for (std::size_t j = 0; j < groups * kScales; ++j) {
      int32x4_t p[2 * C];
      scale_sums<C>(panel, j, x, p);
      Tile::template to_rows<C>(p);
      const std::size_t g = j / kScales;
#pragma GCC unroll 8
      for (int i = 0; i < 2 * C; ++i) {
        const float32x4_t scale = vmulq_n_f32(vld1q_f32(panel.d[j] + 4 * (i / C)), x.meta[i % C]->scale[g]);
        acc[i] = vfmaq_f32(acc[i], scale, vcvtq_f32_s32(p[i]));
      }
      if constexpr (F::kHasMin) {
        fence();
#pragma GCC unroll 8
        for (int i = 0; i < 2 * C; ++i) {
          const Meta& meta = *x.meta[i % C];
          const float32x4_t min = vmulq_n_f32(vld1q_f32(panel.min[g] + 4 * (i / C)), meta.scale[g]);
          acc[i] = vfmaq_n_f32(acc[i], min, static_cast<float>(meta.sums32[g]));
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 2 * C; ++i) vst1q_f32(tile + 16 * (i % C) + 4 * (i / C), acc[i]);
  }
};

}  // namespace
}  // namespace quantlinear::cpu
