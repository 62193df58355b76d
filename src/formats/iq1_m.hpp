// IQ1_M: 256 weights in 56 bytes (1.75 bits per weight).
//
//   bytes 0..31  low 8 bits of the grid index, one per 8 weights
//   bytes 32..47 per 8 weights 4 bits: the high three bits of the index, and in bit 3 whether delta is
//                -1/8 instead of 1/8; low nibbles come first
//   bytes 48..55 four 16-bit words: bits 0..11 hold four 3-bit sub-scales s, one per 16 weights; the top
//                nibbles of the four words make up d, a half, lowest nibble first
//
//   w = d * (2 s_j + 1) * (grid[index] + delta);  as integers as in IQ1_S
#pragma once

#include "formats/format.hpp"
#include "formats/iq1_grid_value.hpp"

namespace quantlinear::formats {
namespace {

struct IQ1_M {
  static constexpr GgufQuantType kType = GgufQuantType::IQ1_M;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 56;
  static constexpr int kMaxU = 18;
  static constexpr int kOffset = 9;
  static constexpr int kScaleStep = 16;
  static constexpr int kMaxScale = 15;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 0.125f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int j = i / 16, g = i / 8;
      const float scale = d * static_cast<float>(2 * ((le16(block + 48 + 2 * (j / 4)) >> (3 * (j % 4))) & 7) + 1);
      const float delta = (nibble(block, g) & 8) != 0 ? -0.125f : 0.125f;
      out[i] = scale * (grid_value(iq1_grid[index(block, g)], i % 8) + delta);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) {
    return static_cast<std::uint16_t>((block[49] >> 4) | (block[51] & 0xf0) | ((block[53] & 0xf0) << 4) |
                                      ((block[55] & 0xf0) << 8));
  }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::u64x2(four_scales(block + 48) | (four_scales(block + 50) << 32),
                    four_scales(block + 52) | (four_scales(block + 54) << 32));
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    const auto grid = V::u64x4(iq1_grid[index(block, 4 * J)], iq1_grid[index(block, 4 * J + 1)],
                               iq1_grid[index(block, 4 * J + 2)], iq1_grid[index(block, 4 * J + 3)]);
    // Bit 3 of each nibble, eight times over: 0 where delta is negative, 2 where it is positive.
    const auto plus = [&](int l) { return (nibble(block, 4 * J + l) & 8) != 0 ? 0u : 0x0202020202020202u; };
    return V::add(grid, V::u64x4(plus(0), plus(1), plus(2), plus(3)));
  }

 private:
  static int nibble(const std::uint8_t* block, int g) { return (block[32 + g / 2] >> (4 * (g % 2))) & 15; }
  static int index(const std::uint8_t* block, int g) { return block[g] | ((nibble(block, g) & 7) << 8); }
  /// Four 3-bit fields of a word as bytes 2 s + 1.
  static std::uint64_t four_scales(const std::uint8_t* word) {
    const std::uint32_t x = le16(word);
    const std::uint32_t s = (x & 7u) | ((x << 5) & 0x700u) | ((x << 10) & 0x70000u) | ((x << 15) & 0x7000000u);
    return (s << 1) | 0x01010101u;
  }
};

}  // namespace
}  // namespace quantlinear::formats
