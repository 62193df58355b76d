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

#include "formats/iq1_code_book.hpp"

namespace quantlinear::formats {
namespace {

struct IQ1_M : Iq1CodeBook {
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
    // Nibbles at bits 0, 16, 32 and 48 to 48, 52, 56 and 60; no two of the others meet.
    const std::uint64_t nibbles = (le64(block + 48) >> 12) & 0x000f000f000f000fu;
    return static_cast<std::uint16_t>((nibbles * 0x0001001001001000u) >> 48);
  }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    if constexpr (requires { V::threes_of_words(block); }) {
      return V::twice_plus_one(V::threes_of_words(block + 48));
    } else {
      const auto eight = [&](int at) {
        const std::uint64_t fields = (le16(block + at) & 0xfffu) | ((le16(block + at + 2) & 0xfffu) << 12);
        return (deposit<V, 0x0707070707070707u>(fields) << 1) | 0x0101010101010101u;
      };
      return V::u64x2(eight(48), eight(52));
    }
  }
  template <class V, int I>
  static typename V::U8x32 index_words(const std::uint8_t* block) {
    return V::bit_and(
        V::template add_high_bits<4, 16 * I>(V::words_of(V::load16(block + 16 * I)), V::load16(block + 32)),
        V::fill16(0x7ff));
  }
  template <class V>
  static typename V::U8x32 all_deltas(const std::uint8_t* block) {
    const auto words = V::words_of(V::load16(block + 32));
    const auto minus = V::bit_and(V::bit_or(words, V::template shl<4>(words)), V::fill(8));
    return V::template shr<2>(V::bit_xor(minus, V::fill(8)));
  }
  template <class V, int J>
  static typename V::U8x32 with_deltas(typename V::U8x32 entries, const std::uint8_t* block) {
    // Bit 3 of each nibble, of eight weights: 0 where delta is negative, 2 where it is positive.
    std::uint32_t plus = ~std::uint32_t{le16(block + 32 + 2 * J)} & 0x8888u;  // bits 3, 7, 11, 15 to 1, 9, 17, 25
    plus = (plus | (plus << 8)) & 0x00880088u;
    plus = (plus | (plus << 4)) & 0x08080808u;
    return V::add(entries, V::each_eight_times(plus >> 2));
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    const std::uint64_t indices = four_indices<V, 0x0f000f000f000f00u>(le32(block + 4 * J), le16(block + 32 + 2 * J));
    return with_deltas<V, J>(grid_entries<V>(indices & 0x07ff07ff07ff07ffu), block);
  }
  template <class W>
  static typename W::U8x64 codes(const std::uint8_t* block) {
    return W::select(0xf00, W::template fields<4>(W::load16(block + 32)), W::words_of(W::load32(block)));
  }

 private:
  static int nibble(const std::uint8_t* block, int g) { return (block[32 + g / 2] >> (4 * (g % 2))) & 15; }
  static int index(const std::uint8_t* block, int g) { return block[g] | ((nibble(block, g) & 7) << 8); }
};

}  // namespace
}  // namespace quantlinear::formats
