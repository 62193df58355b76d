// NVFP4: 64 weights in 36 bytes (4.5 bits per weight).
//
//   bytes 0..3   one scale per 16 weights, UE4M3: four bits of exponent (bias 7), three of mantissa;
//                the byte 0x7f means 0 (0xff does not); otherwise the top bit is ignored
//   bytes 4..35  4-bit floats: 8 bytes hold 16 weights, low nibbles the first 8
//
//   w = scale_j / 2 * v,  v the doubled float (fp4.hpp)
#pragma once

#include "formats/format.hpp"
#include "formats/fp4.hpp"

namespace quantlinear::formats {
namespace {

/// Half of the value of every scale byte.
struct Ue4m3Halves {
  float half[256];

  constexpr Ue4m3Halves() : half() {
    for (int code = 0; code < 256; ++code) {
      const int exponent = (code >> 3) & 15, mantissa = code & 7;
      float value = static_cast<float>(exponent == 0 ? mantissa : 8 + mantissa) * 0x1p-10f;
      for (int e = 1; e < exponent; ++e) value *= 2.0f;
      half[code] = code == 0x7f ? 0.0f : value;
    }
  }
};
inline constexpr Ue4m3Halves kScales;

struct NVFP4 {
  static constexpr GgufQuantType kType = GgufQuantType::NVFP4;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 64;
  static constexpr int kBlockBytes = 36;
  static constexpr int kMaxU = 24;
  static constexpr int kOffset = 12;
  static constexpr int kScaleStep = 16;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    for (int i = 0; i < 64; ++i) {
      const int byte = block[4 + 8 * (i / 16) + i % 8];
      const int code = i % 16 < 8 ? byte & 15 : byte >> 4;
      out[i] = static_cast<float>(kDoubledFp4[code]) * scale(block, i / 16);
    }
  }

  /// Half of the scale of weights 16j .. 16j+15.
  static float scale(const std::uint8_t* block, int j) { return kScales.half[block[j]]; }

  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    constexpr std::uint64_t kFirst = 0x0706050403020100u, kSecond = 0x0f0e0d0c0b0a0908u;
    constexpr std::uint64_t kNibbles = 0x0f0f0f0f0f0f0f0fu;
    const auto bytes = V::lookup(V::load16(block + 4 + 16 * J), V::u64x4(kFirst, kFirst, kSecond, kSecond));
    const auto low = V::bit_and(bytes, V::u64x4(kNibbles, 0, kNibbles, 0));
    const auto high = V::bit_and(V::template shr<4>(bytes), V::u64x4(0, kNibbles, 0, kNibbles));
    return V::lookup(fp4_table<V>(), V::bit_or(low, high));
  }
};

}  // namespace
}  // namespace quantlinear::formats
