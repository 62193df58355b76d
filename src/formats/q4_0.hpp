// Q4_0: 32 weights in 18 bytes (4.5 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..17  4-bit q: low nibbles are weights 0..15, high nibbles weights 16..31
//
//   w = d * (q - 8)
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q4_0 {
  static constexpr GgufQuantType kType = GgufQuantType::Q4_0;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 32;
  static constexpr int kBlockBytes = 18;
  static constexpr int kScaleAt = 0;
  static constexpr int kMaxU = 15;
  static constexpr int kOffset = 8;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((block[2 + i] & 15) - 8) * d;
      out[16 + i] = static_cast<float>((block[2 + i] >> 4) - 8) * d;
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    static_assert(J == 0);
    return V::nibbles(block + 2);
  }
  template <class V>
  static Halves<V> halves(typename V::Blocks blocks) {
    return nibble_halves<V>(blocks + 2);
  }
};

}  // namespace
}  // namespace quantlinear::formats
