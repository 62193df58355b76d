// Q8_0: 32 weights in 34 bytes (8.5 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..33  q    signed bytes, the whole range -128 .. 127
//
//   w = d * q
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q8_0 {
  static constexpr GgufQuantType kType = GgufQuantType::Q8_0;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 32;
  static constexpr int kBlockBytes = 34;
  static constexpr int kScaleAt = 0;
  static constexpr int kMaxU = 255;
  static constexpr int kOffset = 128;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    static_assert(J == 0);
    return V::bit_xor(V::load32(block + 2), V::fill(128));
  }
  template <class V>
  static Halves<V> halves(typename V::Blocks blocks) {
    return {V::bit_xor(V::sixteens(blocks + 2), V::fill(128)), V::bit_xor(V::sixteens(blocks + 18), V::fill(128))};
  }
};

}  // namespace
}  // namespace quantlinear::formats
