// Q6_K: 256 weights in 210 bytes (6.5625 bits per weight).
//
//   bytes 0..127   low four bits: per 128 weights 64 bytes; low nibbles of the first 32 bytes are weights
//                  0..31, of the next 32 bytes 32..63, high nibbles 64..95 and 96..127
//   bytes 128..191 high two bits: per 128 weights 32 bytes; bits 0..1 are weights 0..31, bits 2..3 32..63 ...
//   bytes 192..207 16 sub-scales, signed bytes
//   bytes 208..209 d    half
//
//   w = d * s_j * (q - 32),  q in 0..63
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q6_K {
  static constexpr GgufQuantType kType = GgufQuantType::Q6_K;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 210;
  static constexpr int kScaleAt = 208;
  static constexpr int kMaxU = 63;
  static constexpr int kOffset = 32;
  static constexpr int kScaleStep = 16;
  static constexpr int kMaxScale = 128;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int half = i / 128, quarter = i / 32 % 4;
      const int byte = block[64 * half + 32 * (quarter % 2) + i % 32];
      const int four = quarter < 2 ? byte & 15 : byte >> 4;
      const int two = (block[128 + 32 * half + i % 32] >> (2 * quarter)) & 3;
      const auto scale = static_cast<std::int8_t>(block[192 + i / 16]);
      out[i] = d * static_cast<float>(scale) * static_cast<float>((four | (two << 4)) - 32);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block + 208); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::load16(block + 192);
  }
  template <class V>
  static Quads<V, 4> lane_scales(typename V::Block block) {
    return {{V::quad(block + 192), V::quad(block + 196), V::quad(block + 200), V::quad(block + 204)}};
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    constexpr int kQuarter = J % 4;
    const auto bytes = V::load32(block + 64 * (J / 4) + 32 * (kQuarter % 2));
    const auto four = V::bit_and(kQuarter < 2 ? bytes : V::template shr<4>(bytes), V::fill(15));
    const auto bits = V::load32(block + 128 + 32 * (J / 4));
    const auto two = V::bit_and(kQuarter == 0   ? V::template shl<4>(bits)
                                : kQuarter == 1 ? V::template shl<2>(bits)
                                : kQuarter == 2 ? bits
                                                : V::template shr<2>(bits),
                                V::fill(48));
    return V::bit_or(four, two);
  }
  static constexpr QuarterOrder kQuarterOrder = kPlainQuarters;
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    const auto bytes = W::load64(block + 64 * (J / 2));
    const auto four = W::bit_and(J % 2 == 0 ? bytes : W::template shr<4>(bytes), W::fill(15));
    constexpr int kUp = J % 2 == 0 ? 4 : 0;
    const auto two = W::template move_bits<kUp, kUp - 2>(W::load32_twice(block + 128 + 32 * (J / 2)));
    return W::bit_or(four, W::bit_and(two, W::fill(48)));
  }
};

}  // namespace
}  // namespace quantlinear::formats
