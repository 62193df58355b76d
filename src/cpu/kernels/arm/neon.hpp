// Building blocks on 128-bit registers that the GEMV, the panel packer and the f32 kernels share.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/isa/neon_vocabulary.hpp"
#include "cpu/kernel_table.hpp"
#include "formats/format.hpp"

namespace quantlinear::cpu {
namespace {

using formats::Family;
using V = NeonVocabulary;

/// f.template operator()<0>() ... <N-1>(): loops whose index must be a constant.
template <int N, class Function>
[[gnu::always_inline]] inline void unroll(Function&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    (f.template operator()<I>(), ...);
  }(std::make_integer_sequence<int, N>{});
}

/// Loads do not move across it. Compilers load early to hide latencies, which the processor does by itself,
/// and then run out of registers; no instruction comes of it.
[[gnu::always_inline]] inline void fence() { asm volatile("" ::: "memory"); }

/// Four rows of a matrix, the last one repeated where there are fewer: never read past the end.
struct Rows4 {
  const std::uint8_t* row[4];
  std::size_t count;  ///< rows that exist, 1..4

  Rows4(const std::uint8_t* weights, std::size_t row_bytes, std::size_t first, std::size_t end)
      : count(end - first < 4 ? end - first : 4) {
    for (std::size_t i = 0; i < 4; ++i) row[i] = weights + (first + (i < count ? i : count - 1)) * row_bytes;
  }
};

/// half(f(block)) of four rows as f32; `bytes` is the position of the block in its row.
template <class HalfOf>
[[gnu::always_inline]] inline float32x4_t halves4(const Rows4& rows, std::size_t bytes, HalfOf half_of) {
  uint16x4_t v = vdup_n_u16(half_of(rows.row[0] + bytes));
  v = vset_lane_u16(half_of(rows.row[1] + bytes), v, 1);
  v = vset_lane_u16(half_of(rows.row[2] + bytes), v, 2);
  v = vset_lane_u16(half_of(rows.row[3] + bytes), v, 3);
  return vcvt_f32_f16(vreinterpret_f16_u16(v));
}

/// Scale of weights J*kScaleStep.. of one block of four rows (super_block: d, with its factor).
template <class F, int J = 0>
[[gnu::always_inline]] inline float32x4_t scales4(const Rows4& rows, std::size_t bytes) {
  if constexpr (requires(const std::uint8_t* b) { F::scale(b, 0); }) {
    const float32x4_t s = {F::scale(rows.row[0] + bytes, J), F::scale(rows.row[1] + bytes, J),
                           F::scale(rows.row[2] + bytes, J), F::scale(rows.row[3] + bytes, J)};
    return s;
  } else {
    float32x4_t d = halves4(rows, bytes, [](const std::uint8_t* b) { return F::d_bits(b); });
    if constexpr (F::kFamily == Family::super_block) {
      if constexpr (F::kFactor != 1.0f) d = vmulq_n_f32(d, F::kFactor);
    }
    return d;
  }
}

/// 32 signed bytes.
struct I8x32 {
  int8x16_t low, high;
};

/// u - offset: in every format it fits a signed byte.
template <class F>
[[gnu::always_inline]] inline I8x32 signed_bytes(V::U8x32 u) {
  static_assert(F::kOffset <= 128 && F::kMaxU - F::kOffset <= 127);
  if constexpr (F::kOffset == 128) {
    u = V::bit_xor(u, V::fill(128));  // undoes the same in the format file, if it is there
  } else if constexpr (F::kOffset != 0) {
    u = V::sub(u, V::fill(F::kOffset));
  }
  return {vreinterpretq_s8_u8(u.low), vreinterpretq_s8_u8(u.high)};
}

/// 16 signed bytes (sub-scales and mins are such) to 32-bit lanes; v[i] holds 4i .. 4i+3.
struct I32x16 {
  int32x4_t v[4];

  explicit I32x16(uint8x16_t bytes) {
    const int16x8_t low = vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(bytes)));
    const int16x8_t high = vmovl_high_s8(vreinterpretq_s8_u8(bytes));
    v[0] = vmovl_s16(vget_low_s16(low));
    v[1] = vmovl_high_s16(low);
    v[2] = vmovl_s16(vget_low_s16(high));
    v[3] = vmovl_high_s16(high);
  }
};

/// Sums of the lanes of four vectors: lane i of the result is of v[i].
[[gnu::always_inline]] inline int32x4_t sums4(const int32x4_t (&v)[4]) {
  return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/// 4 x 4 transposition of 32-bit lanes.
[[gnu::always_inline]] inline void transpose4(int32x4_t (&v)[4]) {
  const int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(v[0], v[1])), b = vreinterpretq_s64_s32(vtrn2q_s32(v[0], v[1]));
  const int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(v[2], v[3])), d = vreinterpretq_s64_s32(vtrn2q_s32(v[2], v[3]));
  v[0] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
  v[1] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
  v[2] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
  v[3] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
}

/// Adds the bias and writes the first `count` lanes: rows row .. of one column.
[[gnu::always_inline]] inline void store_rows(const ProductArgs& args, std::size_t row, std::size_t count,
                                              std::size_t column, float32x4_t value) {
  float* out = args.out + column * args.out_stride + row;
  if (count == 4) {
    if (args.bias != nullptr) value = vaddq_f32(value, vld1q_f32(args.bias + row));
    vst1q_f32(out, value);
    return;
  }
  float lanes[4];
  vst1q_f32(lanes, value);
  for (std::size_t i = 0; i < count; ++i) out[i] = args.bias != nullptr ? lanes[i] + args.bias[row + i] : lanes[i];
}

/// Writes a tile [column][16] of `rows` finished rows and all columns.
inline void store_tile(const ProductArgs& args, std::size_t row, std::size_t rows, const float* tile) {
  for (std::size_t c = 0; c < args.x.m; ++c) {
    for (std::size_t r = 0; r < rows; r += 4) {
      store_rows(args, row + r, rows - r < 4 ? rows - r : 4, c, vld1q_f32(tile + 16 * c + r));
    }
  }
}

}  // namespace
}  // namespace quantlinear::cpu
