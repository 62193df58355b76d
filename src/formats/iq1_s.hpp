// IQ1_S: 256 weights in 50 bytes (1.5625 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..33  low 8 bits of the grid index, one per 8 weights
//   bytes 34..49 per 32 weights 16 bits: four times the high three bits of an index, the sub-scale s in
//                bits 12..14, and in bit 15 whether delta is -1/8 instead of 1/8
//
//   w = d * (2 s_j + 1) * (grid[index] + delta),  8 values -1, 0, 1 an index
//   As integers: d / 8 * (2 s_j + 1) * q,  q = 8 * grid +- 1
#pragma once

#include "formats/iq1_code_book.hpp"

namespace quantlinear::formats {
namespace {

struct IQ1_S : Iq1CodeBook {
  static constexpr GgufQuantType kType = GgufQuantType::IQ1_S;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 50;
  static constexpr int kMaxU = 18;
  static constexpr int kOffset = 9;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 15;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 0.125f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int j = 0; j < 8; ++j) {
      const int bits = le16(block + 34 + 2 * j);
      const float scale = d * static_cast<float>(2 * ((bits >> 12) & 7) + 1);
      const float delta = (bits & 0x8000) != 0 ? -0.125f : 0.125f;
      for (int i = 0; i < 32; ++i) {
        const std::uint64_t entry = iq1_grid[block[2 + 4 * j + i / 8] | (((bits >> (3 * (i / 8))) & 7) << 8)];
        out[32 * j + i] = scale * (grid_value(entry, i % 8) + delta);
      }
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    if constexpr (requires { V::top_threes_of_words(block); }) {
      return V::twice_plus_one(V::top_threes_of_words(block + 34));
    } else {
      constexpr std::uint64_t kFields = 0x7000700070007000u;
      const std::uint64_t fields =
          extract<V, kFields>(le64(block + 34)) | (extract<V, kFields>(le64(block + 42)) << 12);
      return V::u64x2(deposit<V, 0x0e0e0e0e0e0e0e0eu>(fields) | 0x0101010101010101u, 0);
    }
  }
  template <class V, int I>
  static typename V::U8x32 index_words(const std::uint8_t* block) {
    return V::template add_threes<16 * I>(V::words_of(V::load16(block + 2 + 16 * I)), V::load16(block + 34));
  }
  template <class V>
  static typename V::U8x32 all_deltas(const std::uint8_t* block) {
    const auto high_bytes = V::u64x4(0x0303030301010101, 0x0707070705050505, 0x0b0b0b0b09090909, 0x0f0f0f0f0d0d0d0d);
    const auto minus = V::bit_and(V::lookup(V::load16(block + 34), high_bytes), V::fill(0x80));
    return V::template shr<6>(V::bit_xor(minus, V::fill(0x80)));
  }
  template <class V, int J>
  static typename V::U8x32 with_deltas(typename V::U8x32 entries, const std::uint8_t* block) {
    return V::add(entries, V::fill((block[35 + 2 * J] & 0x80u) != 0 ? 0 : 2));
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    const std::uint32_t bits = le16(block + 34 + 2 * J);
    return with_deltas<V, J>(grid_entries<V>(four_indices<V, 0x0700070007000700u>(le32(block + 2 + 4 * J), bits)),
                             block);
  }
  template <class W>
  static typename W::U8x64 codes(const std::uint8_t* block) {
    const auto bits = W::four_times(W::load16(block + 34));
    const auto index = W::select(0x700, W::template shl<8>(W::shr_by_threes(bits)), W::words_of(W::load32(block + 2)));
    return W::select(0x800, W::template shr<4>(bits), index);
  }
};

}  // namespace
}  // namespace quantlinear::formats
