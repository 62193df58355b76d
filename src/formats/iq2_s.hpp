// IQ2_S: 256 weights in 82 bytes (2.5625 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..33  low 8 bits of the grid index, one per 8 weights
//   bytes 34..65 signs: bit i of byte g belongs to weight 8g + i
//   bytes 66..73 high two bits of the grid index, bits 2l.. of byte j for index 4j + l
//   bytes 74..81 per 32 weights two 4-bit sub-scales, the low nibble for the first 16
//
//   w = d / 8 * (2 s_j + 1) * (+- grid[index]),  8 magnitudes 8, 25 or 43 an index
#pragma once

#include "formats/code_book.hpp"
#include "formats/format.hpp"
#include "formats/tables/iq2_s_grid.hpp"

namespace quantlinear::formats {
namespace {

struct IQ2_S {
  static constexpr GgufQuantType kType = GgufQuantType::IQ2_S;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 82;
  static constexpr int kMaxU = 86;
  static constexpr int kOffset = 43;
  static constexpr int kScaleStep = 16;
  static constexpr int kMaxScale = 31;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 0.125f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int nibble = (block[74 + i / 32] >> (4 * (i / 16 % 2))) & 15;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      out[i] = scale * signed_value(iq2_s_grid[index(block, i / 32, i / 8 % 4)], i % 8, block[34 + i / 8], i % 8);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::u64x2(odd_nibbles<V>(le32(block + 74)), odd_nibbles<V>(le32(block + 78)));
  }
  template <int J>
  static std::uint32_t sign_bits(const std::uint8_t* block) {
    return le32(block + 34 + 4 * J);
  }
  template <class V>
  static typename V::U8x32 all_signs(const std::uint8_t* block) {
    return V::load32(block + 34);
  }
  template <class V, int I>
  static typename V::U8x32 index_words(const std::uint8_t* block) {
    return V::template add_high_bits<2, 16 * I>(V::words_of(V::load16(block + 2 + 16 * I)), V::load8(block + 66));
  }
  template <class V, int J>
  static typename V::U8x32 magnitudes(const std::uint8_t* block) {
    const std::uint64_t indices = four_indices<V, 0x0300030003000300u>(le32(block + 2 + 4 * J), block[66 + J]);
    const auto entry = [&](int i) { return iq2_s_grid[word_of(indices, i)]; };
    return V::u64x4(entry(0), entry(1), entry(2), entry(3));
  }
  static constexpr auto& kEntries = iq2_s_grid;
  static constexpr int kIndexBits = 10;
  template <class W>
  static typename W::U8x64 codes(const std::uint8_t* block) {
    return W::select(0x300, W::template fields<2>(W::load8(block + 66)), W::words_of(W::load32(block + 2)));
  }
  template <class W, int J>
  static typename W::U8x64 indexed_weights(typename W::U8x64 entries, typename W::U8x64, const std::uint8_t* block) {
    return W::plus_or_minus(kOffset, entries, le64(block + 34 + 8 * J));
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    return signed_group<V, IQ2_S, J>(block);
  }

 private:
  static int index(const std::uint8_t* block, int j, int l) {
    return block[2 + 4 * j + l] | (((block[66 + j] >> (2 * l)) & 3) << 8);
  }
};

}  // namespace
}  // namespace quantlinear::formats
