// TQ2_0: 256 weights in 66 bytes (2.0625 bits per weight).
//
//   bytes 0..63  2-bit q: 32 bytes hold 128 weights, bits 0..1 the first 32, bits 2..3 the next ...
//   bytes 64..65 d    half
//
//   w = d * (q - 1);  writers use q = 0, 1, 2, but 3 is legal and means 2 d
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct TQ2_0 {
  static constexpr GgufQuantType kType = GgufQuantType::TQ2_0;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 66;
  static constexpr int kScaleAt = 64;
  static constexpr int kMaxU = 3;
  static constexpr int kOffset = 1;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 1;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int q = (block[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
      out[i] = static_cast<float>(q - 1) * d;
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block + 64); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t*) {
    return V::u64x2(0x0101010101010101u, 0);
  }
  template <class V>
  static Quads<V, 2> lane_scales(typename V::Block) {
    return {{V::quad_of(1), V::quad_of(1)}};
  }
  static constexpr int kTurnGroups = 4;
  template <class V, int J>
  static typename V::U8x32 turn_group(typename V::Block block, int turn) {
    return V::bit_and(V::template shr<2 * J>(V::load32(block + 32 * turn)), V::fill(3));
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    return turn_group<V, J % kTurnGroups>(block, J / kTurnGroups);
  }
};

}  // namespace
}  // namespace quantlinear::formats
