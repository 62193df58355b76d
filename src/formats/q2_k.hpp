// Q2_K: 256 weights in 84 bytes (2.625 bits per weight).
//
//   bytes 0..15   per 16 weights: sub-scale in the low nibble, min in the high nibble
//   bytes 16..79  2-bit q: 32 bytes hold 128 weights, bits 0..1 the first 32, bits 2..3 the next ...
//   bytes 80..81  d     half
//   bytes 82..83  dmin  half
//
//   w = d * s_j * q - dmin * m_j,  q in 0..3
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q2_K {
  static constexpr GgufQuantType kType = GgufQuantType::Q2_K;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 84;
  static constexpr int kScaleAt = 80;
  static constexpr int kMaxU = 3;
  static constexpr int kOffset = 0;
  static constexpr int kScaleStep = 16;
  static constexpr int kMaxScale = 15;
  static constexpr bool kHasMin = true;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block)), dmin = half_to_float(dmin_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int pair = block[i / 16];
      const int q = (block[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
      const float scale = d * static_cast<float>(pair & 15);
      out[i] = scale * static_cast<float>(q) - dmin * static_cast<float>(pair >> 4);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block + 80); }
  static std::uint16_t dmin_bits(const std::uint8_t* block) { return le16(block + 82); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::low_half(V::nibbles(block));
  }
  template <class V>
  static typename V::U8x16 mins(const std::uint8_t* block) {
    return V::high_half(V::nibbles(block));
  }
  template <class V>
  static Quads<V, 4> lane_scales(typename V::Block block) {
    const auto low = [&](int at) { return V::bit_and(V::quad(block + at), V::fill(15)); };
    return {{low(0), low(4), low(8), low(12)}};
  }
  template <class V>
  static Quads<V, 4> lane_mins(typename V::Block block) {
    const auto high = [&](int at) { return V::bit_and(V::template shr<4>(V::quad(block + at)), V::fill(15)); };
    return {{high(0), high(4), high(8), high(12)}};
  }
  static constexpr int kTurnGroups = 4;
  template <class V, int J>
  static typename V::U8x32 turn_group(typename V::Block block, int turn) {
    return V::bit_and(V::template shr<2 * J>(V::load32(block + 16 + 32 * turn)), V::fill(3));
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    return turn_group<V, J % kTurnGroups>(block, J / kTurnGroups);
  }
  static constexpr QuarterOrder kQuarterOrder = kTwoBitQuarters;
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    return W::bit_and(W::template shr<2 * J>(W::load64(block + 16)), W::fill(3));
  }
};

}  // namespace
}  // namespace quantlinear::formats
