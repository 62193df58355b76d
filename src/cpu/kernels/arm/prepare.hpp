// Quantising activations on NEON; the same bits as kernels/prepare.hpp.
#pragma once

#include "cpu/kernels/arm/neon.hpp"
#include "cpu/kernels/prepare.hpp"

namespace quantlinear::cpu {
namespace {

inline bool all_finite_neon(const float* x, std::size_t count) {
  const uint32x4_t exponent = vdupq_n_u32(0x7f800000u);
  uint32x4_t bad = vdupq_n_u32(0);
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), exponent);
    bad = vorrq_u32(bad, vceqq_u32(bits, exponent));
  }
  return vmaxvq_u32(bad) == 0 && all_finite(x + i, count - i);
}

/// max |x|; count is a multiple of 32.
inline float largest_of(const float* x, std::size_t count) {
  float32x4_t most[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
  for (std::size_t i = 0; i < count; i += 8) {
    most[0] = vmaxq_f32(most[0], vabsq_f32(vld1q_f32(x + i)));
    most[1] = vmaxq_f32(most[1], vabsq_f32(vld1q_f32(x + i + 4)));
  }
  return vmaxvq_f32(vmaxq_f32(most[0], most[1]));
}

/// Eight values to integers, ties to even.
[[gnu::always_inline]] inline int16x8_t round8(const float* x, float pre, float inverse) {
  const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vmulq_n_f32(vld1q_f32(x), pre), inverse));
  const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vmulq_n_f32(vld1q_f32(x + 4), pre), inverse));
  return vmovn_high_s32(vmovn_s32(low), high);
}

inline void store32(const int16x8_t (&q)[4], std::int8_t* out) {
  vst1q_s8(out, vmovn_high_s16(vmovn_s16(q[0]), q[1]));
  vst1q_s8(out + 16, vmovn_high_s16(vmovn_s16(q[2]), q[3]));
}
inline void store32(const int16x8_t (&q)[4], std::int16_t* out) {  // 0..7, 16..23, 8..15, 24..31
  vst1q_s16(out, q[0]);
  vst1q_s16(out + 8, q[2]);
  vst1q_s16(out + 16, q[1]);
  vst1q_s16(out + 24, q[3]);
}

/// As quantise_chunk; `count` is a multiple of 32 (block formats have whole blocks).
template <class Value, class Meta>
inline void quantise_chunk_neon(const ActivationSpec& spec, const float* x, std::size_t count, Value* values,
                                Meta& meta) {
  std::int32_t sums[16] = {};
  float scales[8] = {};
  std::size_t g = 0;
  while (32 * g < count) {
    const std::size_t groups = spec.block / 32;  // 1 or 8
    const std::size_t end = g + groups < count / 32 ? g + groups : count / 32;
    const BlockScale s = block_scale(largest_of(x + 32 * g, 32 * (end - g)), spec.max_q);
    for (std::size_t j = g; j < g + groups; ++j) scales[j] = s.scale;
    for (; g < end; ++g) {
      int16x8_t q[4];
      for (int i = 0; i < 4; ++i) q[i] = round8(x + 32 * g + 8 * i, s.pre, s.inverse);
      store32(q, values + 32 * g);
      sums[2 * g] = vaddvq_s32(vpadalq_s16(vpaddlq_s16(q[0]), q[1]));
      sums[2 * g + 1] = vaddvq_s32(vpadalq_s16(vpaddlq_s16(q[2]), q[3]));
    }
  }
  std::memset(values + 32 * g, 0, (kChunk - 32 * g) * sizeof(Value));
  std::memcpy(meta.scale, scales, sizeof scales);
  fill_sums(sums, meta);
}

inline bool prepare_row_neon(const ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                             std::size_t m, void* values, void* meta) {
  if (!all_finite_neon(x, in_features)) {
    clear_row(spec, in_features, row, m, values, meta);
    return false;
  }
  if (spec.precision == Precision::f32) {
    copy_row(spec, x, in_features, row, m, values);
    return true;
  }
  for (std::size_t chunk = 0; chunk * kChunk < in_features; ++chunk) {
    const std::size_t left = in_features - chunk * kChunk, at = chunk * m + row;
    const std::size_t count = left < kChunk ? left : kChunk;
    if (spec.precision == Precision::a8) {
      quantise_chunk_neon(spec, x + chunk * kChunk, count, static_cast<std::int8_t*>(values) + at * kChunk,
                          static_cast<A8Meta*>(meta)[at]);
    } else {
      quantise_chunk_neon(spec, x + chunk * kChunk, count, static_cast<std::int16_t*>(values) + at * kChunk,
                          static_cast<A16Meta*>(meta)[at]);
    }
  }
  return true;
}

}  // namespace
}  // namespace quantlinear::cpu
