// Few activation rows: four weight rows at a time, blocks read in place, lanes along k.
//
// The integer sums of four rows are added up into one register, so that the f32 step is shared by four
// rows. a8 multiplies bytes by sdot and applies the sub-scale to its 32-bit sums; a16 multiplies q * s_j,
// which fits 16 bits, by smlal.
#pragma once

#include <type_traits>

#include "cpu/kernels/arm/neon.hpp"

namespace quantlinear::cpu {
namespace {

/// Where the activations of chunk `chunk` and column `c0` start. Value: int8_t with A8Meta, int16_t with A16Meta.
template <class Meta>
struct ChunkX {
  using Value = std::conditional_t<std::is_same_v<Meta, A8Meta>, std::int8_t, std::int16_t>;
  const Value* q;
  const Meta* meta;

  ChunkX(const Activations& x, std::size_t chunk, std::size_t c0)
      : q(static_cast<const Value*>(x.values) + (chunk * x.m + c0) * kChunk),
        meta(static_cast<const Meta*>(x.meta) + chunk * x.m + c0) {}
  [[nodiscard]] const Value* column(int c) const { return q + static_cast<std::size_t>(c) * kChunk; }
};

/// 32 signed bytes as 16-bit words in the order of a16 activations: 0..7, 16..23, 8..15, 24..31.
struct Words32 {
  int16x8_t v[4];

  explicit Words32(I8x32 w)
      : v{vmovl_s8(vget_low_s8(w.low)), vmovl_s8(vget_low_s8(w.high)), vmovl_high_s8(w.low), vmovl_high_s8(w.high)} {}
};

/// sum + w * a, 8 products into 4 lanes.
[[gnu::always_inline]] inline int32x4_t add_products(int32x4_t sum, int16x8_t w, int16x8_t a) {
  return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(w), vget_low_s16(a)), w, a);
}

[[gnu::always_inline]] inline int32x4_t dot16(int8x16_t w, const std::int8_t* a, int32x4_t sum = vdupq_n_s32(0)) {
  return vdotq_s32(sum, w, vld1q_s8(a));
}

/// s[c][i] = sum of s_j q a over one super-block of row i in {first, first + 1} and C columns, in 4 lanes.
/// Not inlined: two pairs of rows side by side do not fit the registers.
template <class F, int C>
[[gnu::noinline]] void super_block_sums(const std::uint8_t* const (&block)[2], const ChunkX<A8Meta>& x, int first,
                                        int32x4_t (&s)[C][4]) {
  const I32x16 scales[2] = {I32x16(F::template scales<V>(block[0])), I32x16(F::template scales<V>(block[1]))};
  int32x4_t total[2][C];
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) total[0][c] = total[1][c] = vdupq_n_s32(0);
  unroll<8>([&]<int J>() {
    const I8x32 w[2] = {signed_bytes<F>(F::template group<V, J>(block[0])),
                        signed_bytes<F>(F::template group<V, J>(block[1]))};
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
      const std::int8_t* a = x.column(c) + 32 * J;
#pragma GCC unroll 2
      for (int r = 0; r < 2; ++r) {
        if constexpr (F::kScaleStep == 32) {
          const int32x4_t p = dot16(w[r].high, a + 16, dot16(w[r].low, a));
          total[r][c] = vmlaq_laneq_s32(total[r][c], p, scales[r].v[J / 4], J % 4);
        } else {
          constexpr int kJ = 2 * J;
          total[r][c] = vmlaq_laneq_s32(total[r][c], dot16(w[r].low, a), scales[r].v[kJ / 4], kJ % 4);
          total[r][c] = vmlaq_laneq_s32(total[r][c], dot16(w[r].high, a + 16), scales[r].v[kJ / 4], kJ % 4 + 1);
        }
      }
    }
  });
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) {
    s[c][first] = total[0][c];
    s[c][first + 1] = total[1][c];
  }
}

template <class F, int C>
[[gnu::noinline]] void super_block_sums(const std::uint8_t* const (&block)[2], const ChunkX<A16Meta>& x, int first,
                                        int32x4_t (&s)[C][4]) {
  int16x8_t scales[2][2];
  int32x4_t total[2][C];
#pragma GCC unroll 2
  for (int r = 0; r < 2; ++r) {
    const int8x16_t bytes = vreinterpretq_s8_u8(F::template scales<V>(block[r]));
    scales[r][0] = vmovl_s8(vget_low_s8(bytes));
    scales[r][1] = vmovl_high_s8(bytes);
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) total[r][c] = vdupq_n_s32(0);
  }
  unroll<8>([&]<int J>() {
    constexpr bool kOne = F::kScaleStep == 32;
    constexpr int kLow = kOne ? J : 2 * J, kHigh = kOne ? J : 2 * J + 1;  // sub-scales of the group's halves
    Words32 w[2] = {Words32(signed_bytes<F>(F::template group<V, J>(block[0]))),
                    Words32(signed_bytes<F>(F::template group<V, J>(block[1])))};
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
      w[r].v[0] = vmulq_laneq_s16(w[r].v[0], scales[r][kLow / 8], kLow % 8);
      w[r].v[1] = vmulq_laneq_s16(w[r].v[1], scales[r][kHigh / 8], kHigh % 8);
      w[r].v[2] = vmulq_laneq_s16(w[r].v[2], scales[r][kLow / 8], kLow % 8);
      w[r].v[3] = vmulq_laneq_s16(w[r].v[3], scales[r][kHigh / 8], kHigh % 8);
    }
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int16x8_t a = vld1q_s16(x.column(c) + 32 * J + 8 * i);
        total[0][c] = add_products(total[0][c], w[0].v[i], a);
        total[1][c] = add_products(total[1][c], w[1].v[i], a);
      }
    }
  });
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) {
    s[c][first] = total[0][c];
    s[c][first + 1] = total[1][c];
  }
}

/// m_j * (sum of a over sub-block j), in four lanes.
template <class F>
[[gnu::always_inline]] inline int32x4_t mins_times_sums(const std::uint8_t* block, const A8Meta& meta) {
  const int8x16_t mins = vreinterpretq_s8_u8(F::template mins<V>(block));
  const std::int16_t* sums = F::kScaleStep == 32 ? meta.sums32 : meta.sums16;
  const int16x8_t low = vmovl_s8(vget_low_s8(mins)), a = vld1q_s16(sums);
  int32x4_t m = vmlal_high_s16(vmull_s16(vget_low_s16(low), vget_low_s16(a)), low, a);
  if constexpr (F::kScaleStep == 16) m = add_products(m, vmovl_high_s8(mins), vld1q_s16(sums + 8));
  return m;
}
template <class F>
[[gnu::always_inline]] inline int32x4_t mins_times_sums(const std::uint8_t* block, const A16Meta& meta) {
  const I32x16 mins(F::template mins<V>(block));
  const std::int32_t* sums = F::kScaleStep == 32 ? meta.sums32 : meta.sums16;
  int32x4_t m = vmulq_s32(mins.v[0], vld1q_s32(sums));
  unroll<8 * 32 / F::kScaleStep / 4 - 1>(
      [&]<int I>() { m = vmlaq_s32(m, mins.v[I + 1], vld1q_s32(sums + 4 * (I + 1))); });
  return m;
}

/// acc[c] += all of k, for four rows and C columns; super-block formats.
template <class F, class Meta, int C>
[[gnu::noinline]] void gemv_super(const ProductArgs& args, const Rows4& rows, float32x4_t (&out)[C]) {
  const std::size_t blocks = args.in_features / 256;
  float32x4_t acc[C];
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) acc[c] = vdupq_n_f32(0.0f);
#pragma GCC unroll 1
  for (std::size_t b = 0; b < blocks; ++b) {
    const ChunkX<Meta> x(args.x, b, 0);
    const std::size_t at = b * F::kBlockBytes;
    int32x4_t s[C][4];
#pragma GCC unroll 1
    for (int i = 0; i < 4; i += 2) {
      const std::uint8_t* const block[2] = {rows.row[i] + at, rows.row[i + 1] + at};
      super_block_sums<F, C>(block, x, i, s);
    }
    const float32x4_t d = scales4<F>(rows, at);
    float32x4_t dmin{};
    if constexpr (F::kHasMin) dmin = halves4(rows, at, [](const std::uint8_t* p) { return F::dmin_bits(p); });
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
      const float da = x.meta[c].scale[0];
      acc[c] = vfmaq_f32(acc[c], vmulq_n_f32(d, da), vcvtq_f32_s32(sums4(s[c])));
      if constexpr (F::kHasMin) {
        const int32x4_t m[4] = {
            mins_times_sums<F>(rows.row[0] + at, x.meta[c]), mins_times_sums<F>(rows.row[1] + at, x.meta[c]),
            mins_times_sums<F>(rows.row[2] + at, x.meta[c]), mins_times_sums<F>(rows.row[3] + at, x.meta[c])};
        acc[c] = vfmsq_f32(acc[c], vmulq_n_f32(dmin, da), vcvtq_f32_s32(sums4(m)));
      }
    }
  }
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) out[c] = acc[c];
}

/// Sums of the products of a group of 32 of four rows; kStep 16: of its halves.
template <int kStep>
struct GroupSums {
  int32x4_t v[32 / kStep];
};
template <int kStep>
[[gnu::always_inline]] inline GroupSums<kStep> group_sums(const I8x32 (&w)[4], const std::int8_t* a) {
  int32x4_t p[4];
  GroupSums<kStep> sums;
  if constexpr (kStep == 32) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) p[i] = dot16(w[i].high, a + 16, dot16(w[i].low, a));
    sums.v[0] = sums4(p);
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) p[i] = dot16(w[i].low, a);
    sums.v[0] = sums4(p);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) p[i] = dot16(w[i].high, a + 16);
    sums.v[1] = sums4(p);
  }
  return sums;
}
template <int kStep>
[[gnu::always_inline]] inline GroupSums<kStep> group_sums(const Words32 (&w)[4], const std::int16_t* a) {
  GroupSums<kStep> sums;
#pragma GCC unroll 2
  for (int half = 0; half < 32 / kStep; ++half) {  // weights 0..15 stand at 0..7 and 16..23
    int32x4_t p[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      p[i] = vdupq_n_s32(0);
#pragma GCC unroll 4
      for (int part = half; part < 4; part += 32 / kStep) {
        p[i] = add_products(p[i], w[i].v[part], vld1q_s16(a + 8 * part));
      }
    }
    sums.v[half] = sums4(p);
  }
  return sums;
}

/// As gemv_super, for small-block formats: one f32 step per scale (16 or 32 weights).
template <class F, class Meta, int C>
[[gnu::noinline]] void gemv_small(const ProductArgs& args, const Rows4& rows, float32x4_t (&out)[C]) {
  constexpr int kGroups = F::kBlockElements / 32;  // per block
  using Weights = std::conditional_t<std::is_same_v<Meta, A8Meta>, I8x32, Words32>;
  const std::size_t blocks = args.in_features / F::kBlockElements;
  float32x4_t acc[C];
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) acc[c] = vdupq_n_f32(0.0f);
#pragma GCC unroll 1
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first_group = b * kGroups;
    const ChunkX<Meta> x(args.x, first_group / 8, 0);
    const std::size_t at = b * F::kBlockBytes;
    float32x4_t d[32 / F::kScaleStep]{}, min{};
    if constexpr (F::kScaleStep == 32) d[0] = scales4<F>(rows, at);
    if constexpr (F::kHasMin) min = halves4(rows, at, [](const std::uint8_t* p) { return F::m_bits(p); });
    unroll<kGroups>([&]<int J>() {
      const std::size_t g = first_group % 8 + J;  // group in the chunk
      if constexpr (F::kScaleStep == 16) {
        d[0] = scales4<F, 2 * J>(rows, at);
        d[1] = scales4<F, 2 * J + 1>(rows, at);
      }
      const auto weights = [&](int i) { return Weights(signed_bytes<F>(F::template group<V, J>(rows.row[i] + at))); };
      const Weights w[4] = {weights(0), weights(1), weights(2), weights(3)};
#pragma GCC unroll 3
      for (int c = 0; c < C; ++c) {
        const GroupSums<F::kScaleStep> sums = group_sums<F::kScaleStep>(w, x.column(c) + 32 * g);
        const float da = x.meta[c].scale[g];
#pragma GCC unroll 2
        for (int j = 0; j < 32 / F::kScaleStep; ++j) {
          acc[c] = vfmaq_f32(acc[c], vmulq_n_f32(d[j], da), vcvtq_f32_s32(sums.v[j]));
        }
        if constexpr (F::kHasMin) {
          acc[c] = vfmaq_n_f32(acc[c], vmulq_n_f32(min, da), static_cast<float>(x.meta[c].sums32[g]));
        }
      }
    });
  }
#pragma GCC unroll 3
  for (int c = 0; c < C; ++c) out[c] = acc[c];
}

/// From this m on a panel pays, by the count of instructions: docs/kernels.md.
inline constexpr std::size_t kGemmFrom = 4;

/// All rows of the call, for m < kGemmFrom.
template <class F, class Meta>
void gemv(const ProductArgs& args) noexcept {
  for (std::size_t row = args.row_begin; row < args.row_end; row += 4) {
    const Rows4 rows(args.weights, args.row_bytes, row, args.row_end);
    const auto pass = [&]<int C>() {
      float32x4_t acc[C];
      if constexpr (F::kFamily == Family::super_block) {
        gemv_super<F, Meta, C>(args, rows, acc);
      } else {
        gemv_small<F, Meta, C>(args, rows, acc);
      }
      for (int c = 0; c < C; ++c) store_rows(args, row, rows.count, static_cast<std::size_t>(c), acc[c]);
    };
    if (args.x.m == 1) pass.template operator()<1>();
    if (args.x.m == 2) pass.template operator()<2>();
    if (args.x.m == 3) pass.template operator()<3>();
  }
}

}  // namespace
}  // namespace quantlinear::cpu
