// Q5_K: 256 weights in 176 bytes (5.5 bits per weight).
//
//   bytes 0..1    d      half
//   bytes 2..3    dmin   half
//   bytes 4..15   8 sub-scales and 8 mins of 6 bits, as in Q4_K
//   bytes 16..47  fifth bits: bit J of byte i belongs to weight 32J + i
//   bytes 48..175 low four bits, as in Q4_K
//
//   w = d * s_j * q - dmin * m_j,  q in 0..31
#pragma once

#include "formats/format.hpp"
#include "formats/k_scales.hpp"

namespace quantlinear::formats {
namespace {

struct Q5_K {
  static constexpr GgufQuantType kType = GgufQuantType::Q5_K;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 176;
  static constexpr int kScaleAt = 0;
  static constexpr int kSixBitFieldAt = 4;
  static constexpr int kMaxU = 31;
  static constexpr int kOffset = 0;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 63;
  static constexpr bool kHasMin = true;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block)), dmin = half_to_float(dmin_bits(block));
    for (int j = 0; j < 8; ++j) {
      const SixBitPair pair = six_bit_pair(block + 4, j);
      const float scale = d * static_cast<float>(pair.scale);
      const float min = dmin * static_cast<float>(pair.min);
      for (int i = 0; i < 32; ++i) {
        const int byte = block[48 + 32 * (j / 2) + i];
        const int q = (j % 2 == 0 ? byte & 15 : byte >> 4) | (((block[16 + i] >> j) & 1) << 4);
        out[32 * j + i] = scale * static_cast<float>(q) - min;
      }
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }
  static std::uint16_t dmin_bits(const std::uint8_t* block) { return le16(block + 2); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::u64x2(six_bit_scales(block + 4), 0);
  }
  template <class V>
  static typename V::U8x16 mins(const std::uint8_t* block) {
    return V::u64x2(six_bit_mins(block + 4), 0);
  }
  template <class V>
  static Quads<V, 2> lane_scales(typename V::Block block) {
    return six_bit_scale_quads<V>(block + 4);
  }
  template <class V>
  static Quads<V, 2> lane_mins(typename V::Block block) {
    return six_bit_min_quads<V>(block + 4);
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    const auto bytes = V::load32(block + 48 + 32 * (J / 2));
    const auto four = V::bit_and(J % 2 == 0 ? bytes : V::template shr<4>(bytes), V::fill(15));
    const auto bits = V::load32(block + 16);
    const auto fifth = V::bit_and(
        J < 4 ? V::template shl<(J < 4 ? 4 - J : 0)>(bits) : V::template shr<(J < 4 ? 0 : J - 4)>(bits), V::fill(16));
    return V::bit_or(four, fifth);
  }
  static constexpr QuarterOrder kQuarterOrder = kNibbleQuarters;
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    const auto bytes = W::load64(block + 48 + 64 * (J / 2));
    const auto four = W::bit_and(J % 2 == 0 ? bytes : W::template shr<4>(bytes), W::fill(15));
    constexpr int kGroup = 4 * (J / 2) + J % 2;  // and the next but one
    const auto bits = W::template move_bits<4 - kGroup, 2 - kGroup>(W::load32_twice(block + 16));
    return W::bit_or(four, W::bit_and(bits, W::fill(16)));
  }
  template <class W, int J>
  static typename W::U8x64 paired_quarter(const std::uint8_t* block) {
    const auto bytes = W::template every_other_16<J % 2>(W::load64(block + 48), W::load64(block + 112));
    const auto four = W::bit_and(J < 2 ? bytes : W::template shr<4>(bytes), W::fill(15));
    constexpr int kUp = 4 - J / 2;
    const auto bits =
        W::template move_bits<kUp, kUp - 2, kUp - 4, kUp - 6>(W::load16_four_times(block + 16 + 16 * (J % 2)));
    return W::bit_or(four, W::bit_and(bits, W::fill(16)));
  }
};

}  // namespace
}  // namespace quantlinear::formats
