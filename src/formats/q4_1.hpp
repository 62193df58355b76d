// Q4_1: 32 weights in 20 bytes (5 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..3   m    half
//   bytes 4..19  4-bit q: low nibbles are weights 0..15, high nibbles weights 16..31
//
//   w = d * q + m
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q4_1 {
  static constexpr GgufQuantType kType = GgufQuantType::Q4_1;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 32;
  static constexpr int kBlockBytes = 20;
  static constexpr int kScaleAt = 0;
  static constexpr int kMaxU = 15;
  static constexpr int kOffset = 0;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = true;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block)), m = half_to_float(m_bits(block));
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(block[4 + i] & 15) * d + m;
      out[16 + i] = static_cast<float>(block[4 + i] >> 4) * d + m;
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }
  static std::uint16_t m_bits(const std::uint8_t* block) { return le16(block + 2); }

  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    static_assert(J == 0);
    return V::nibbles(block + 4);
  }
  template <class V>
  static Halves<V> halves(typename V::Blocks blocks) {
    return nibble_halves<V>(blocks + 4);
  }
};

}  // namespace
}  // namespace quantlinear::formats
