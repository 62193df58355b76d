// Q4_K: 256 weights in 144 bytes (4.5 bits per weight).
//
//   bytes 0..1    d      half    scale of the sub-scales
//   bytes 2..3    dmin   half    scale of the mins
//   bytes 4..15   8 sub-scales and 8 mins of 6 bits, one pair per 32 weights, packed in 12 bytes:
//                   j < 4: s = byte[j] & 63,  m = byte[j+4] & 63
//                   j >= 4: s = low nibble of byte[j+4] | top two bits of byte[j-4] << 4
//                           m = high nibble of byte[j+4] | top two bits of byte[j] << 4
//   bytes 16..143 4-bit q: 32 bytes hold 64 weights, low nibbles the first 32, high nibbles the next
//
//   w = d * s_j * q - dmin * m_j,  q in 0..15
#pragma once

#include "formats/format.hpp"
#include "formats/k_scales.hpp"

namespace quantlinear::formats {
namespace {

struct Q4_K {
  static constexpr GgufQuantType kType = GgufQuantType::Q4_K;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 144;
  static constexpr int kScaleAt = 0;
  static constexpr int kSixBitFieldAt = 4;
  static constexpr int kMaxU = 15;
  static constexpr int kOffset = 0;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 63;
  static constexpr bool kHasMin = true;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    const float dmin = half_to_float(dmin_bits(block));
    for (int j = 0; j < 8; ++j) {
      const SixBitPair pair = six_bit_pair(block + 4, j);
      const float scale = d * static_cast<float>(pair.scale);
      const float min = dmin * static_cast<float>(pair.min);
      const std::uint8_t* q = block + 16 + 32 * (j / 2);
      for (int i = 0; i < 32; ++i) {
        const int nibble = (j % 2 == 0) ? q[i] & 15 : q[i] >> 4;
        out[32 * j + i] = scale * static_cast<float>(nibble) - min;
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
  static constexpr int kTurnGroups = 2;
  template <class V, int J>
  static typename V::U8x32 turn_group(typename V::Block block, int turn) {
    const auto bytes = V::load32(block + 16 + 32 * turn);
    return V::bit_and(J == 0 ? bytes : V::template shr<4>(bytes), V::fill(15));
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    return turn_group<V, J % kTurnGroups>(block, J / kTurnGroups);
  }
  static constexpr QuarterOrder kQuarterOrder = kNibbleQuarters;
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    const auto bytes = W::load64(block + 16 + 64 * (J / 2));
    return W::bit_and(J % 2 == 0 ? bytes : W::template shr<4>(bytes), W::fill(15));
  }
  template <class W, int J>
  static typename W::U8x64 paired_quarter(const std::uint8_t* block) {
    const auto bytes = W::template every_other_16<J % 2>(W::load64(block + 16), W::load64(block + 80));
    return W::bit_and(J < 2 ? bytes : W::template shr<4>(bytes), W::fill(15));
  }
};

}  // namespace
}  // namespace quantlinear::formats
