// IQ2_XXS: 256 weights in 66 bytes (2.0625 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..65  per 32 weights 8 bytes: four 8-bit grid indices, then 32 bits: four 7-bit sign indices
//                and, in bits 28..31, the sub-scale s
//
//   w = d / 8 * (2 s_j + 1) * (+- grid[index]),  8 magnitudes 8, 25 or 43 an index
#pragma once

#include "formats/code_book.hpp"
#include "formats/code_words.hpp"
#include "formats/format.hpp"
#include "formats/tables/iq2_xxs_grid.hpp"

namespace quantlinear::formats {
namespace {

struct IQ2_XXS {
  static constexpr GgufQuantType kType = GgufQuantType::IQ2_XXS;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 66;
  static constexpr int kMaxU = 86;
  static constexpr int kOffset = 43;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 31;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 0.125f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int j = 0; j < 8; ++j) {
      const std::uint8_t* index = block + 2 + 8 * j;
      const std::uint32_t word = le32(index + 4), signs = signs_of(word);
      const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
      for (int i = 0; i < 32; ++i) out[32 * j + i] = scale * signed_value(iq2_xxs_grid[index[i / 8]], i % 8, signs, i);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    if constexpr (requires { V::top_nibbles_of_qwords(block); }) {
      return V::twice_plus_one(V::top_nibbles_of_qwords(block + 2));
    } else {
      std::uint32_t nibbles = 0;
      for (int j = 7; j >= 0; --j) nibbles = (nibbles << 4) | (le32(block + 6 + 8 * j) >> 28);
      return V::u64x2(odd_nibbles<V>(nibbles), 0);
    }
  }
  template <class V, int J>
  static std::uint32_t sign_indices(const std::uint8_t* block) {
    return le32(block + 6 + 8 * J);
  }
  template <class V>
  static typename V::U8x32 all_signs(const std::uint8_t* block) {
    return V::with_even_parity(V::spread_sevens(V::high_dwords(block + 2)));
  }
  template <class V, int J>
  static typename V::U8x32 magnitudes(const std::uint8_t* block) {
    const std::uint8_t* index = block + 2 + 8 * J;
    return V::u64x4(iq2_xxs_grid[index[0]], iq2_xxs_grid[index[1]], iq2_xxs_grid[index[2]], iq2_xxs_grid[index[3]]);
  }
  template <class W>
  static Iq2Planes<W> planes(const std::uint8_t* block) {
    static constexpr auto kCodes = code_words(iq2_xxs_grid, kIq2Magnitudes);
    const auto all = W::load64(block + 2);
    const auto signs = W::with_even_parity(W::template sevens<4>(all));
    return {kOffset, W::lookup_words(kCodes.at, W::low_bytes_of_qwords(all)), signs};
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    return signed_group<V, IQ2_XXS, J>(block);
  }
};

}  // namespace
}  // namespace quantlinear::formats
