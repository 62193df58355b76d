// Q1_0: 128 weights in 18 bytes (1.125 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..17  signs: bit i % 8 of byte i / 8 belongs to weight i
//
//   w = d if the bit is set, else -d
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q1_0 {
  static constexpr GgufQuantType kType = GgufQuantType::Q1_0;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 128;
  static constexpr int kBlockBytes = 18;
  static constexpr int kMaxU = 2;
  static constexpr int kOffset = 1;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 128; ++i) out[i] = ((block[2 + i / 8] >> (i % 8)) & 1) != 0 ? d : -d;
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    return V::value_where(le32(block + 2 + 4 * J), 2);
  }
};

}  // namespace
}  // namespace quantlinear::formats
