// Panels: 16 weight rows of one chunk (256 k), unpacked once for all m as signed bytes with the offset
// applied. Half a panel is eight rows, interleaved by what one instruction of the tile takes:
//
//   w       [k/S][row 8][S]   S = 4 for sdot by lane, 8 for smmla                        2 KiB
//
// The same bytes serve a16, whose activations are a = 256 h + l + 128 with signed bytes h and l (tile.hpp):
// the weights' sums that the 128 needs are made here, once for all columns.
#pragma once

#include "cpu/kernels/arm/neon.hpp"

namespace quantlinear::cpu {
namespace {

inline constexpr std::size_t kPanelRows = 16;

/// Eight rows of a panel. Which members are used depends on the format and the precision.
struct HalfPanel {
  alignas(64) std::int8_t w[kChunk * 8];
  /// super_block: s_j and m_j, [j][row]
  alignas(64) std::int32_t sub_scale[16][8];
  alignas(64) std::int32_t mins[16][8];
  /// a16: 128 * sum of q over the weights of each scale; super_block: [0] has 128 * sum of s_j q
  alignas(64) std::int32_t start[16][8];
  /// super_block: d in [0], dmin in min[0]; small_block: d of each scale, m of each 32
  alignas(64) float d[16][8];
  alignas(64) float min[16][8];
};

struct Panel {
  HalfPanel half[2];
};

/// Stores 16 k of four rows; `out` is where row 0 of the four stands in the first step. S as above.
template <int S>
[[gnu::always_inline]] inline void interleave16(const int8x16_t (&rows)[4], std::int8_t* out) {
  int32x4_t v[4];
  for (int i = 0; i < 4; ++i) v[i] = vreinterpretq_s32_s8(rows[i]);
  if constexpr (S == 4) {
    transpose4(v);
    for (int i = 0; i < 4; ++i) vst1q_s8(out + 32 * i, vreinterpretq_s8_s32(v[i]));
  } else {
    for (int i = 0; i < 2; ++i) {
      const int64x2_t a = vreinterpretq_s64_s32(v[2 * i]), b = vreinterpretq_s64_s32(v[2 * i + 1]);
      vst1q_s8(out + 16 * i, vreinterpretq_s8_s64(vzip1q_s64(a, b)));
      vst1q_s8(out + 16 * i + 64, vreinterpretq_s8_s64(vzip2q_s64(a, b)));
    }
  }
}

/// 16 signed bytes of four rows, transposed into four rows of [j][8].
template <int kCount>
[[gnu::always_inline]] inline void store_bytes_by_j(const uint8x16_t (&bytes)[4], std::int32_t* out) {
  const I32x16 rows[4] = {I32x16(bytes[0]), I32x16(bytes[1]), I32x16(bytes[2]), I32x16(bytes[3])};
  for (int part = 0; part < kCount / 4; ++part) {
    int32x4_t v[4] = {rows[0].v[part], rows[1].v[part], rows[2].v[part], rows[3].v[part]};
    transpose4(v);
    for (int i = 0; i < 4; ++i) vst1q_s32(out + 8 * (4 * part + i), v[i]);
  }
}

/// Group J of the blocks at `at` as group g of the half panel, rows 4 quarter ..; a16 also gets the sums of q.
template <class F, int S, bool kA16, int J>
[[gnu::always_inline]] inline void pack_group(const Rows4& rows, std::size_t at, std::size_t g, std::size_t quarter,
                                              HalfPanel& panel) {
  int8x16_t low[4], high[4];
  int32x4_t sums[2][4];
  for (int i = 0; i < 4; ++i) {
    const I8x32 w = signed_bytes<F>(F::template group<V, J>(rows.row[i] + at));
    low[i] = w.low;
    high[i] = w.high;
    if constexpr (kA16) {
      const int8x16_t ones = vdupq_n_s8(1);
      sums[0][i] = vdotq_s32(vdupq_n_s32(0), w.low, ones);
      sums[1][i] = vdotq_s32(F::kScaleStep == 32 ? sums[0][i] : vdupq_n_s32(0), w.high, ones);
    }
  }
  std::int8_t* out = panel.w + 256 * g + 4 * S * quarter;
  interleave16<S>(low, out);
  interleave16<S>(high, out + 128);
  if constexpr (kA16) {
    if constexpr (F::kScaleStep == 32) {
      vst1q_s32(panel.start[g] + 4 * quarter, vshlq_n_s32(sums4(sums[1]), 7));
    } else {
      vst1q_s32(panel.start[2 * g] + 4 * quarter, vshlq_n_s32(sums4(sums[0]), 7));
      vst1q_s32(panel.start[2 * g + 1] + 4 * quarter, vshlq_n_s32(sums4(sums[1]), 7));
    }
  }
}

/// Four rows of a super-block.
template <class F, int S, bool kA16>
[[gnu::always_inline]] inline void pack_super(const Rows4& rows, std::size_t at, std::size_t quarter,
                                              HalfPanel& panel) {
  constexpr int kSubBlocks = 256 / F::kScaleStep;
  const std::size_t q4 = 4 * quarter;
  vst1q_f32(panel.d[0] + q4, scales4<F>(rows, at));
  const uint8x16_t scales[4] = {F::template scales<V>(rows.row[0] + at), F::template scales<V>(rows.row[1] + at),
                                F::template scales<V>(rows.row[2] + at), F::template scales<V>(rows.row[3] + at)};
  store_bytes_by_j<kSubBlocks>(scales, panel.sub_scale[0] + q4);
  if constexpr (F::kHasMin) {
    vst1q_f32(panel.min[0] + q4, halves4(rows, at, [](const std::uint8_t* b) { return F::dmin_bits(b); }));
    const uint8x16_t mins[4] = {F::template mins<V>(rows.row[0] + at), F::template mins<V>(rows.row[1] + at),
                                F::template mins<V>(rows.row[2] + at), F::template mins<V>(rows.row[3] + at)};
    store_bytes_by_j<kSubBlocks>(mins, panel.mins[0] + q4);
  }
  unroll<8>([&]<int J>() { pack_group<F, S, kA16, J>(rows, at, J, quarter, panel); });
  if constexpr (kA16) {
    int32x4_t total = vdupq_n_s32(0);
    for (int j = 0; j < kSubBlocks; ++j) {
      total = vmlaq_s32(total, vld1q_s32(panel.start[j] + q4), vld1q_s32(panel.sub_scale[j] + q4));
    }
    vst1q_s32(panel.start[0] + q4, total);
  }
}

/// Four rows of the small blocks of a chunk.
template <class F, int S, bool kA16>
[[gnu::always_inline]] inline void pack_small(const Rows4& rows, std::size_t chunk, int groups, std::size_t quarter,
                                              HalfPanel& panel) {
  constexpr int kGroups = F::kBlockElements / 32;
  for (int b = 0; b * kGroups < groups; ++b) {
    const std::size_t at = (chunk * (kChunk / F::kBlockElements) + static_cast<std::size_t>(b)) * F::kBlockBytes;
    unroll<kGroups>([&]<int J>() {
      const std::size_t g = static_cast<std::size_t>(b * kGroups + J);
      pack_group<F, S, kA16, J>(rows, at, g, quarter, panel);
      if constexpr (F::kScaleStep == 32) {
        vst1q_f32(panel.d[g] + 4 * quarter, scales4<F>(rows, at));
      } else {
        const float32x4_t low = scales4<F, 2 * J>(rows, at), high = scales4<F, 2 * J + 1>(rows, at);
        vst1q_f32(panel.d[2 * g] + 4 * quarter, low);  // a macro with clang, so no commas
        vst1q_f32(panel.d[2 * g + 1] + 4 * quarter, high);
      }
      if constexpr (F::kHasMin) {
        vst1q_f32(panel.min[g] + 4 * quarter, halves4(rows, at, [](const std::uint8_t* p) { return F::m_bits(p); }));
      }
    });
  }
}

/// Packs chunk `chunk` (`groups` groups of 32 k) of rows first .. first+15 (the last row repeated).
template <class F, int S, bool kA16>
[[gnu::noinline]] void pack_panel(const ProductArgs& args, std::size_t first, std::size_t chunk, int groups,
                                  Panel& panel) {
  for (std::size_t four = 0; four < 4; ++four) {
    const std::size_t start = first + 4 * four;
    const Rows4 rows(args.weights, args.row_bytes, start < args.row_end ? start : args.row_end - 1, args.row_end);
    HalfPanel& half = panel.half[four / 2];
    if constexpr (F::kFamily == Family::super_block) {
      pack_super<F, S, kA16>(rows, chunk * F::kBlockBytes, four % 2, half);
    } else {
      pack_small<F, S, kA16>(rows, chunk, groups, four % 2, half);
    }
  }
}

}  // namespace
}  // namespace quantlinear::cpu
