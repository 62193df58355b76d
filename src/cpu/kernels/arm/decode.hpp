// Exact f32 weights on NEON: the f32 kernels and get_rows are made of this.
#pragma once

#include <cstring>

#include "cpu/kernels/arm/neon.hpp"

namespace quantlinear::cpu {
namespace {

/// 32 consecutive weights.
struct Floats32 {
  float32x4_t v[8];
};

/// 32 signed bytes q to scale * q - min; scale_of and min_of give the values of each half. The product is
/// exact and the subtraction rounds once (formats/format.hpp), so these are the bits of the definition.
template <class F, class ScaleOf, class MinOf>
[[gnu::always_inline]] inline Floats32 floats_of(I8x32 q, ScaleOf scale_of, MinOf min_of) {
  Floats32 r;
  unroll<2>([&]<int Half>() {
    const int8x16_t bytes = Half == 0 ? q.low : q.high;
    const int16x8_t words[2] = {vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)};
    unroll<4>([&]<int I>() {
      const int32x4_t lanes = I % 2 == 0 ? vmovl_s16(vget_low_s16(words[I / 2])) : vmovl_high_s16(words[I / 2]);
      float32x4_t w = vmulq_f32(scale_of(Half), vcvtq_f32_s32(lanes));
      if constexpr (F::kHasMin) w = vsubq_f32(w, min_of(Half));
      r.v[4 * Half + I] = w;
    });
  });
  return r;
}

/// Scales (and mins) of one block as f32, and its weights 32 at a time.
template <class F>
struct BlockDecoder {
  static constexpr int kGroups = F::kBlockElements / 32;
  const std::uint8_t* block;
  float scale[16];
  float min[16];

  [[gnu::always_inline]] explicit BlockDecoder(const std::uint8_t* b) : block(b) {
    if constexpr (F::kFamily == Family::super_block) {
      spread(F::template scales<V>(b), half(F::d_bits(b)) * F::kFactor, scale);
      if constexpr (F::kHasMin) spread(F::template mins<V>(b), half(F::dmin_bits(b)), min);
    } else if constexpr (requires { F::scale(b, 0); }) {
      for (int j = 0; j < F::kBlockElements / F::kScaleStep; ++j) scale[j] = F::scale(b, j);
    } else {
      scale[0] = half(F::d_bits(b));
      if constexpr (F::kHasMin) min[0] = -half(F::m_bits(b));
    }
  }

  /// Weights 32J .. 32J+31.
  template <int J>
  [[nodiscard, gnu::always_inline]] Floats32 group() const {
    constexpr bool kOneScale = F::kFamily == Family::small_block && !requires { F::scale(block, 0); };
    const auto pick = [](const float* values, int part) {
      return vld1q_dup_f32(values + (kOneScale ? 0 : F::kScaleStep == 32 ? J : 2 * J + part));
    };
    return floats_of<F>(
        signed_bytes<F>(F::template group<V, J>(block)), [&](int part) { return pick(scale, part); },
        [&](int part) { return pick(min, part); });
  }

 private:
  static float half(std::uint16_t bits) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
  }
  [[gnu::always_inline]] static void spread(uint8x16_t bytes, float factor, float* out) {
    const I32x16 values(bytes);
    unroll<8 * 32 / F::kScaleStep / 4>(
        [&]<int I>() { vst1q_f32(out + 4 * I, vmulq_n_f32(vcvtq_f32_s32(values.v[I]), factor)); });
  }
};

/// Float formats: 32 weights straight from memory.
template <class F>
[[gnu::always_inline]] inline Floats32 load_floats32(const std::uint8_t* p) {
  Floats32 r;
  unroll<8>([&]<int I>() {
    if constexpr (F::kType == GgufQuantType::F32) {
      r.v[I] = vreinterpretq_f32_u8(vld1q_u8(p + 16 * I));
    } else if constexpr (F::kType == GgufQuantType::F16) {
      r.v[I] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * I)));
    } else {
      static_assert(F::kType == GgufQuantType::BF16);
      r.v[I] = vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p + 8 * I)), 16));
    }
  });
  return r;
}

[[gnu::always_inline]] inline void store32(float* out, const Floats32& w) {
  unroll<8>([&]<int I>() { vst1q_f32(out + 4 * I, w.v[I]); });
}

/// Calls use(group, Floats32) for the groups of 32 weights of a run of `count` weights (at most 256) that
/// starts at block `p`; float formats may end in a part of a group, filled with +0.
template <class F, class Use>
[[gnu::always_inline]] inline void for_each_group(const std::uint8_t* p, std::size_t count, Use use) {
  if constexpr (F::kFamily == Family::float_weight) {
    std::size_t g = 0;
    for (; 32 * (g + 1) <= count; ++g) use(g, load_floats32<F>(p + 32 * g * F::kBlockBytes));
    if (const std::size_t left = count - 32 * g; left != 0) {
      std::uint8_t padded[32 * F::kBlockBytes] = {};
      std::memcpy(padded, p + 32 * g * F::kBlockBytes, left * F::kBlockBytes);
      use(g, load_floats32<F>(padded));
    }
  } else {
    for (std::size_t g = 0; 32 * g < count; p += F::kBlockBytes) {
      const BlockDecoder<F> block(p);
      unroll<BlockDecoder<F>::kGroups>([&]<int J>() { use(g + J, block.template group<J>()); });
      g += BlockDecoder<F>::kGroups;
    }
  }
}

/// FormatKernels::dequantize.
template <class F>
void dequantize_blocks(const std::uint8_t* block, std::size_t blocks, float* out) noexcept {
  constexpr std::size_t kStep = F::kFamily == Family::float_weight ? kChunk : F::kBlockElements;
  for (std::size_t count = blocks * F::kBlockElements; count != 0;) {
    const std::size_t now = count < kStep ? count : kStep;
    if (now % 32 == 0) {
      for_each_group<F>(block, now, [&](std::size_t g, const Floats32& w) { store32(out + 32 * g, w); });
    } else {
      float padded[kChunk];
      for_each_group<F>(block, now, [&](std::size_t g, const Floats32& w) { store32(padded + 32 * g, w); });
      std::memcpy(out, padded, now * sizeof(float));
    }
    block += now / F::kBlockElements * F::kBlockBytes;
    out += now;
    count -= now;
  }
}

}  // namespace
}  // namespace quantlinear::cpu
