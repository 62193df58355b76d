// IQ4_NL: 32 weights in 18 bytes (4.5 bits per weight), 16 fixed values instead of even steps.
//
//   bytes 0..1   d    half
//   bytes 2..17  4-bit index: low nibbles are weights 0..15, high nibbles weights 16..31
//
//   w = d * value[index],  value in -127 .. 113
#pragma once

#include "formats/code_book.hpp"
#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct IQ4_NL {
  static constexpr GgufQuantType kType = GgufQuantType::IQ4_NL;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 32;
  static constexpr int kBlockBytes = 18;
  static constexpr int kScaleAt = 0;
  static constexpr int kMaxU = 241;
  static constexpr int kMinU = 1;
  static constexpr int kOffset = 128;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>(kIq4Values[block[2 + i] & 15]);
      out[16 + i] = d * static_cast<float>(kIq4Values[block[2 + i] >> 4]);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    static_assert(J == 0);
    return V::lookup(iq4_table<V>(), V::nibbles(block + 2));
  }
  template <class V>
  static Halves<V> halves(typename V::Blocks blocks) {
    const Halves<V> index = nibble_halves<V>(blocks + 2);
    return {V::lookup(iq4_table<V>(), index.first), V::lookup(iq4_table<V>(), index.second)};
  }
};

}  // namespace
}  // namespace quantlinear::formats
