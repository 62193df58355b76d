// Q2_0: 64 weights in 18 bytes (2.25 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..17  2-bit q: bits 2(i % 4).. of byte i / 4 belong to weight i
//
//   w = d * (q - 1),  q in 0..3
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q2_0 {
  static constexpr GgufQuantType kType = GgufQuantType::Q2_0;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 64;
  static constexpr int kBlockBytes = 18;
  static constexpr int kMaxU = 3;
  static constexpr int kOffset = 1;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 64; ++i) out[i] = static_cast<float>(((block[2 + i / 4] >> (2 * (i % 4))) & 3) - 1) * d;
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    const std::uint8_t* p = block + 2 + 8 * J;
    return V::u32x8(spread(p[0]), spread(p[1]), spread(p[2]), spread(p[3]), spread(p[4]), spread(p[5]), spread(p[6]),
                    spread(p[7]));
  }

 private:
  /// The four 2-bit fields of a byte, one per byte.
  static std::uint32_t spread(std::uint32_t byte) {
    return (byte | (byte << 6) | (byte << 12) | (byte << 18)) & 0x03030303u;
  }
};

}  // namespace
}  // namespace quantlinear::formats
