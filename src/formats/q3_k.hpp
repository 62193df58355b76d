// Q3_K: 256 weights in 110 bytes (3.4375 bits per weight).
//
//   bytes 0..31    third bits: bit J of byte i belongs to weight 32J + i
//   bytes 32..95   low two bits: 32 bytes hold 128 weights, bits 0..1 the first 32, bits 2..3 the next ...
//   bytes 96..107  16 sub-scales of 6 bits: the low four in bytes 0..7 (low nibbles 0..7, high nibbles
//                  8..15), the high two in bytes 8..11 (bits 2(j/4).. of byte 8 + j%4)
//   bytes 108..109 d    half
//
//   w = d * (s_j - 32) * (q - 4),  q in 0..7
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct Q3_K {
  static constexpr GgufQuantType kType = GgufQuantType::Q3_K;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 110;
  static constexpr int kScaleAt = 108;
  static constexpr int kMaxU = 7;
  static constexpr int kOffset = 4;
  static constexpr int kScaleStep = 16;
  static constexpr int kMaxScale = 32;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int j = i / 16;
      const int low = j < 8 ? block[96 + j] & 15 : block[96 + j - 8] >> 4;
      const int scale = low | (((block[104 + j % 4] >> (2 * (j / 4))) & 3) << 4);
      const int two = (block[32 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
      const int third = ((block[i % 32] >> (i / 32)) & 1) != 0 ? 4 : 0;
      out[i] = d * static_cast<float>(scale - 32) * static_cast<float>((two | third) - 4);
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block + 108); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t* block) {
    if constexpr (requires { V::nibbles_and_twos(block); }) {
      return V::sub16(V::nibbles_and_twos(block + 96), 32);
    } else {
      const std::uint64_t low = le64(block + 96);
      const std::uint64_t top = le32(block + 104);
      // Two bits of each byte of `top` to bits 4..5, for scales 0..3 and 4..7 (then 8..11 and 12..15).
      const std::uint64_t first = ((top << 4) & 0x30303030u) | (((top << 2) & 0x30303030u) << 32);
      const std::uint64_t last = (top & 0x30303030u) | (((top >> 2) & 0x30303030u) << 32);
      return V::sub16(V::u64x2((low & kNibbles) | first, ((low >> 4) & kNibbles) | last), 32);
    }
  }
  template <class V>
  static Quads<V, 4> lane_scales(typename V::Block block) {
    const auto a = V::quad(block + 96), b = V::quad(block + 100), top = V::quad(block + 104);
    const auto scales = [](auto low, auto high) {
      const auto six = V::bit_or(V::bit_and(low, V::fill(15)), V::bit_and(high, V::fill(48)));
      return V::sub(six, V::fill(32));
    };
    return {{scales(a, V::template shl<4>(top)), scales(b, V::template shl<2>(top)), scales(V::template shr<4>(a), top),
             scales(V::template shr<4>(b), V::template shr<2>(top))}};
  }
  template <class V, int J>
  static typename V::U8x32 group(typename V::Block block) {
    const auto two = V::bit_and(V::template shr<2 * (J % 4)>(V::load32(block + 32 + 32 * (J / 4))), V::fill(3));
    const auto bits = V::load32(block);
    const auto third = V::bit_and(
        J < 2 ? V::template shl<(J < 2 ? 2 - J : 0)>(bits) : V::template shr<(J < 2 ? 0 : J - 2)>(bits), V::fill(4));
    return V::bit_or(two, third);
  }
  static constexpr QuarterOrder kQuarterOrder = kTwoBitQuarters;
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    const auto two = W::bit_and(W::template shr<2 * J>(W::load64(block + 32)), W::fill(3));
    const auto third = W::template move_bits<2 - J, -2 - J>(W::load32_twice(block));
    return W::bit_or(two, W::bit_and(third, W::fill(4)));
  }

 private:
  static constexpr std::uint64_t kNibbles = 0x0f0f0f0f0f0f0f0fu;
};

}  // namespace
}  // namespace quantlinear::formats
