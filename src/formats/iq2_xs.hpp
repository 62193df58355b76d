// IQ2_XS: 256 weights in 74 bytes (2.3125 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..65  per 8 weights 16 bits: 9-bit grid index, 7-bit sign index
//   bytes 66..73 per 32 weights two 4-bit sub-scales, the low nibble for the first 16
//
//   w = d / 8 * (2 s_j + 1) * (+- grid[index]),  8 magnitudes 8, 25 or 43 an index
#pragma once

#include "formats/code_book.hpp"
#include "formats/code_words.hpp"
#include "formats/format.hpp"
#include "formats/tables/iq2_xs_grid.hpp"

namespace quantlinear::formats {
namespace {

struct IQ2_XS {
  static constexpr GgufQuantType kType = GgufQuantType::IQ2_XS;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 74;
  static constexpr int kMaxU = 86;
  static constexpr int kOffset = 43;
  static constexpr int kScaleStep = 16;
  static constexpr int kMaxScale = 31;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 0.125f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int nibble = (block[66 + i / 32] >> (4 * (i / 16 % 2))) & 15;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      const std::uint32_t code = le16(block + 2 + 2 * (i / 8));
      out[i] = scale * signed_value(iq2_xs_grid[code & 511], i % 8, signs_of(code >> 9), i % 8);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    return V::u64x2(odd_nibbles<V>(le32(block + 66)), odd_nibbles<V>(le32(block + 70)));
  }
  template <class V, int J>
  static std::uint32_t sign_indices(const std::uint8_t* block) {
    const std::uint64_t codes = le64(block + 2 + 8 * J);
    return static_cast<std::uint32_t>(extract<V, 0xfe00fe00fe00fe00u>(codes));
  }
  template <class V>
  static typename V::U8x32 all_signs(const std::uint8_t* block) {
    return V::with_even_parity(V::top_sevens(block + 2));
  }
  static constexpr auto& kEntries = iq2_xs_grid;
  template <class V, int I>
  static typename V::U8x32 index_words(const std::uint8_t* block) {
    return V::bit_and(V::load32(block + 2 + 32 * I), V::fill16(511));
  }
  template <class V, int J>
  static typename V::U8x32 magnitudes(const std::uint8_t* block) {
    const std::uint64_t codes = le64(block + 2 + 8 * J);
    const auto entry = [&](int i) { return iq2_xs_grid[(codes >> (16 * i)) & 511]; };
    return V::u64x4(entry(0), entry(1), entry(2), entry(3));
  }
  template <class W>
  static Iq2Planes<W> planes(const std::uint8_t* block) {
    static constexpr auto kCodes = code_words(iq2_xs_grid, kIq2Magnitudes);
    const auto all = W::load64(block + 2);
    return {kOffset, W::lookup_words(kCodes.at, all), W::with_even_parity(W::template shr<9>(all))};
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    return signed_group<V, IQ2_XS, J>(block);
  }
};

}  // namespace
}  // namespace quantlinear::formats
