// Q2_0: 64 weights in 18 bytes (2.25 bits per weight).
//
//   bytes 0..1   d    half
//   bytes 2..17  2-bit q: bits 2(i % 4).. of byte i / 4 belong to weight i
//
//   w = d * (q - 1),  q in 0..3
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q2_0 {
  static constexpr GgufQuantType kType = GgufQuantType::Q2_0;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 64;
  static constexpr int kBlockBytes = 18;
  static constexpr int kMaxU = 3;
  static constexpr int kOffset = 1;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 64; ++i) out[i] = static_cast<float>(((block[2 + i / 4] >> (2 * (i % 4))) & 3) - 1) * d;
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block); }

  /// Eight bytes, each four times over; every copy keeps its own pair of bits, which then lies in a nibble at bit 0 or
  /// bit 2. A look-up moves it to bit 0.
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    const auto bytes = V::lookup(V::load8(block + 2 + 8 * J), V::u64x4(0x0101010100000000u, 0x0303030302020202u,
                                                                       0x0505050504040404u, 0x0707070706060606u));
    constexpr std::uint64_t kOwnPair = 0xc0300c03c0300c03u;
    const auto pair = V::bit_and(bytes, V::u64x4(kOwnPair, kOwnPair, kOwnPair, kOwnPair));
    const auto nibble = V::bit_and(V::bit_or(pair, V::template shr<4>(pair)), V::fill(15));
    return V::lookup(V::u64x2(0x0000000103020100u, 0x0000000300000002u), nibble);
  }
};

}  // namespace
}  // namespace quantlinear::formats
