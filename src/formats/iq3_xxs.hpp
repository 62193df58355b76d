// IQ3_XXS: 256 weights in 98 bytes (3.0625 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..65  8-bit grid index, one per 4 weights
//   bytes 66..97 per 32 weights 32 bits: four 7-bit sign indices and, in bits 28..31, the sub-scale s
//
//   w = d / 4 * (2 s_j + 1) * (+- grid[index]),  4 magnitudes 4 .. 62 an index
#pragma once

#include "formats/code_book.hpp"
#include "formats/code_words.hpp"
#include "formats/format.hpp"
#include "formats/tables/iq3_xxs_grid.hpp"

namespace quantlinear::formats {
namespace {

struct IQ3_XXS {
  static constexpr GgufQuantType kType = GgufQuantType::IQ3_XXS;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 98;
  static constexpr int kMaxU = 124;
  static constexpr int kOffset = 62;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 31;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 0.25f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int j = 0; j < 8; ++j) {
      const std::uint32_t word = le32(block + 66 + 4 * j), signs = signs_of(word);
      const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
      for (int i = 0; i < 32; ++i) {
        out[32 * j + i] = scale * signed_value(iq3_xxs_grid[block[2 + 8 * j + i / 4]], i % 4, signs, i);
      }
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    if constexpr (requires { V::top_nibbles_of_dwords(block); }) {
      return V::twice_plus_one(V::top_nibbles_of_dwords(block + 66));
    } else {
      std::uint32_t nibbles = 0;
      for (int j = 7; j >= 0; --j) nibbles = (nibbles << 4) | (le32(block + 66 + 4 * j) >> 28);
      return V::u64x2(odd_nibbles<V>(nibbles), 0);
    }
  }
  template <class V, int J>
  static std::uint32_t sign_indices(const std::uint8_t* block) {
    return le32(block + 66 + 4 * J);
  }
  template <class V>
  static typename V::U8x32 all_signs(const std::uint8_t* block) {
    return V::with_even_parity(V::spread_sevens(V::load32(block + 66)));
  }
  template <class V, int J>
  static typename V::U8x32 magnitudes(const std::uint8_t* block) {
    // Half of the indices by shifts: loads are what is short.
    const std::uint32_t four = le32(block + 2 + 8 * J);
    const std::uint8_t* i = block + 6 + 8 * J;
    return V::u32x8(iq3_xxs_grid[four & 255], iq3_xxs_grid[(four >> 8) & 255], iq3_xxs_grid[(four >> 16) & 255],
                    iq3_xxs_grid[four >> 24], iq3_xxs_grid[i[0]], iq3_xxs_grid[i[1]], iq3_xxs_grid[i[2]],
                    iq3_xxs_grid[i[3]]);
  }
  template <class W>
  static Iq3Planes<W> planes(const std::uint8_t* block) {
    static constexpr std::uint8_t kMagnitudes[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    static constexpr auto kCodes = code_words(iq3_xxs_grid, kMagnitudes);
    const auto all = W::load64(block + 2);
    const auto signs = W::with_even_parity(W::template sevens<0>(W::qwords_of(W::load32(block + 66))));
    return {kMagnitudes, kOffset, W::lookup_words(kCodes.at, W::even_bytes(all)),
            W::lookup_words(kCodes.at, W::odd_bytes(all)), signs};
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    return signed_group<V, IQ3_XXS, J>(block);
  }
};

}  // namespace
}  // namespace quantlinear::formats
