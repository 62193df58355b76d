// IQ4_XS: 256 weights in 136 bytes (4.25 bits per weight), the 16 values of IQ4_NL.
//
//   bytes 0..1   d    half
//   bytes 2..3   high two bits of the 8 sub-scales, bits 2j..2j+1
//   bytes 4..7   low four bits of the 8 sub-scales, one nibble each
//   bytes 8..135 4-bit index: 16 bytes hold 32 weights, low nibbles the first 16
//
//   w = d * (s_j - 32) * value[index],  s_j in 0..63
#pragma once

#include "formats/code_book.hpp"
#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct IQ4_XS {
  static constexpr GgufQuantType kType = GgufQuantType::IQ4_XS;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 136;
  static constexpr int kScaleAt = 0;
  static constexpr int kMaxU = 241;
  static constexpr int kMinU = 1;
  static constexpr int kOffset = 128;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 32;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int j = 0; j < 8; ++j) {
      const int low = (block[4 + j / 2] >> (4 * (j % 2))) & 15;
      const int high = (le16(block + 2) >> (2 * j)) & 3;
      const float scale = d * static_cast<float>((low | (high << 4)) - 32);
      const std::uint8_t* index = block + 8 + 16 * j;
      for (int i = 0; i < 16; ++i) {
        out[32 * j + i] = scale * static_cast<float>(kIq4Values[index[i] & 15]);
        out[32 * j + 16 + i] = scale * static_cast<float>(kIq4Values[index[i] >> 4]);
      }
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    const std::uint64_t low = deposit<V, 0x0f0f0f0f0f0f0f0fu>(le32(block + 4));
    const std::uint64_t high = deposit<V, 0x3030303030303030u>(le16(block + 2));
    return V::sub16(V::u64x2(low | high, 0), 32);
  }
  template <class V>
  static Quads<V, 2> lane_scales(typename V::Block block) {
    const auto low = V::quad(block + 4), high = V::quad(block);
    // Two bytes of nibbles, and two bits each of one byte.
    const auto scales = [](auto nibbles, auto twos) {
      const auto four = V::bit_or(V::bit_and(nibbles, V::fill_quad(0x000f000f)),
                                  V::bit_and(V::template shr<4>(nibbles), V::fill_quad(0x0f000f00)));
      const auto two = V::bit_or(V::bit_or(V::bit_and(V::template shl<4>(twos), V::fill_quad(0x30)),
                                           V::bit_and(V::template shl<2>(twos), V::fill_quad(0x3000))),
                                 V::bit_or(V::bit_and(twos, V::fill_quad(0x300000)),
                                           V::bit_and(V::template shr<2>(twos), V::fill_quad(0x30000000))));
      return V::sub(V::bit_or(four, two), V::fill(32));
    };
    return {{scales(V::template bytes<0, 0, 1, 1>(low), V::template bytes<2, 2, 2, 2>(high)),
             scales(V::template bytes<2, 2, 3, 3>(low), V::template bytes<3, 3, 3, 3>(high))}};
  }
  static constexpr int kTurnGroups = 1;
  template <class V, int J>
  static typename V::U8x32 turn_group(typename V::Block block, int turn) {
    return V::lookup(iq4_table<V>(), V::nibbles(block + 8 + 16 * turn));
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    return turn_group<V, J % kTurnGroups>(block, J / kTurnGroups);
  }
  static constexpr QuarterOrder kQuarterOrder = {{{0, 2, 4, 6}, {1, 3, 5, 7}, {8, 10, 12, 14}, {9, 11, 13, 15}}};
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    const auto bytes = W::load64(block + 8 + 64 * (J / 2));
    return W::lookup(iq4_table<W>(), W::bit_and(J % 2 == 0 ? bytes : W::template shr<4>(bytes), W::fill(15)));
  }
};

}  // namespace
}  // namespace quantlinear::formats
