// Q5_0: 32 weights in 22 bytes (5.5 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..5   fifth bits: bit i belongs to weight i
//   bytes 6..21  low four bits: low nibbles are weights 0..15, high nibbles weights 16..31
//
//   w = d * (q - 16),  q in 0..31
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q5_0 {
  static constexpr GgufQuantType kType = GgufQuantType::Q5_0;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 32;
  static constexpr int kBlockBytes = 22;
  static constexpr int kScaleAt = 0;
  static constexpr int kMaxU = 31;
  static constexpr int kOffset = 16;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    const std::uint32_t fifth = le32(block + 2);
    for (int i = 0; i < 16; ++i) {
      const int low = (block[6 + i] & 15) | (((fifth >> i) & 1) != 0 ? 16 : 0);
      const int high = (block[6 + i] >> 4) | (((fifth >> (16 + i)) & 1) != 0 ? 16 : 0);
      out[i] = static_cast<float>(low - 16) * d;
      out[16 + i] = static_cast<float>(high - 16) * d;
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    static_assert(J == 0);
    return V::bit_or(V::nibbles(block + 6), V::value_where(le32(block + 2), 16));
  }
  template <class V>
  static Halves<V> halves(typename V::Blocks blocks) {
    return V::set_where(nibble_halves<V>(blocks + 6), blocks + 2, 16);
  }
};

}  // namespace
}  // namespace quantlinear::formats
