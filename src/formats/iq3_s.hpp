// IQ3_S: 256 weights in 110 bytes (3.4375 bits per weight).
//
//   bytes 0..1     d    half
//   bytes 2..65    low 8 bits of the grid index, one per 4 weights
//   bytes 66..73   ninth bits of the grid index: bit i of byte j for index 8j + i
//   bytes 74..105  signs: bit i of byte g belongs to weight 8g + i
//   bytes 106..109 8 sub-scales of 4 bits, one nibble each
//
//   w = d * (2 s_j + 1) * (+- grid[index]),  4 odd magnitudes 1 .. 15 an index
#pragma once

#include "formats/code_book.hpp"
#include "formats/code_words.hpp"
#include "formats/format.hpp"
#include "formats/tables/iq3_s_grid.hpp"

namespace quantlinear::formats {
namespace {

struct IQ3_S {
  static constexpr GgufQuantType kType = GgufQuantType::IQ3_S;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 110;
  static constexpr int kMaxU = 30;
  static constexpr int kOffset = 15;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 31;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int j = 0; j < 8; ++j) {
      const int nibble = (block[106 + j / 2] >> (4 * (j % 2))) & 15;
      const float scale = d * static_cast<float>(1 + 2 * nibble);
      for (int i = 0; i < 32; ++i) {
        out[32 * j + i] =
            scale * signed_value(iq3_s_grid[index(block, j, i / 4)], i % 4, block[74 + 4 * j + i / 8], i % 8);
      }
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::u64x2(odd_nibbles<V>(le32(block + 106)), 0);
  }
  template <int J>
  static std::uint32_t sign_bits(const std::uint8_t* block) {
    return le32(block + 74 + 4 * J);
  }
  template <class V>
  static typename V::U8x32 all_signs(const std::uint8_t* block) {
    return V::load32(block + 74);
  }
  static constexpr auto& kEntries = iq3_s_grid;
  template <class V, int I>
  static typename V::U8x32 index_words(const std::uint8_t* block) {
    return V::template add_high_bits<1, 16 * I>(V::words_of(V::load16(block + 2 + 16 * I)), V::load8(block + 66));
  }
  template <class V, int J>
  static typename V::U8x32 magnitudes(const std::uint8_t* block) {
    const std::uint8_t* low = block + 2 + 8 * J;
    const std::uint64_t first = four_indices<V, 0x0100010001000100u>(le32(low), block[66 + J]);
    const std::uint64_t last = four_indices<V, 0x0100010001000100u>(le32(low + 4), block[66 + J] >> 4);
    const auto entry = [](std::uint64_t four, int i) { return iq3_s_grid[word_of(four, i)]; };
    return V::u32x8(entry(first, 0), entry(first, 1), entry(first, 2), entry(first, 3), entry(last, 0), entry(last, 1),
                    entry(last, 2), entry(last, 3));
  }
  template <class W>
  static Iq3Planes<W> planes(const std::uint8_t* block) {
    static constexpr std::uint8_t kMagnitudes[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    static constexpr auto kCodes = code_words(iq3_s_grid, kMagnitudes);
    const auto low = W::load64(block + 2), high = W::template fields<2>(W::load8(block + 66));
    const auto even = W::lookup_words(kCodes.at, W::select(0x100, high, W::even_bytes(low)));
    const auto odd = W::lookup_words(kCodes.at, W::select(0x100, W::template shr<1>(high), W::odd_bytes(low)));
    return {kMagnitudes, kOffset, even, odd, W::words_of(W::load32(block + 74))};
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    return signed_group<V, IQ3_S, J>(block);
  }

 private:
  static int index(const std::uint8_t* block, int j, int i) {
    return block[2 + 8 * j + i] | (((block[66 + j] >> i) & 1) << 8);
  }
};

}  // namespace
}  // namespace quantlinear::formats
