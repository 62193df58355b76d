// MXFP4: 32 weights in 17 bytes (4.25 bits per weight), the OCP microscaling format.
//
//   byte 0       e    E8M0: a power of two, 2^(e - 127)
//   bytes 1..16  4-bit floats: low nibbles are weights 0..15, high nibbles weights 16..31
//
//   w = 2^(e - 128) * v,  v the doubled float (fp4.hpp). e = 255 is no NaN here: ggml scales by 2^127.
#pragma once

#include "formats/format.hpp"
#include "formats/fp4.hpp"

namespace quantlinear::formats {
namespace {

struct MXFP4 {
  static constexpr GgufQuantType kType = GgufQuantType::MXFP4;
  static constexpr Family kFamily = Family::small_block;
  static constexpr int kBlockElements = 32;
  static constexpr int kBlockBytes = 17;
  static constexpr int kExponentAt = 0;
  static constexpr int kMaxU = 24;
  static constexpr int kOffset = 12;
  static constexpr int kScaleStep = 32;
  static constexpr bool kHasMin = false;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = scale(block, 0);
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(kDoubledFp4[block[1 + i] & 15]) * d;
      out[16 + i] = static_cast<float>(kDoubledFp4[block[1 + i] >> 4]) * d;
    }
  }

  /// 2^(e - 128); the two smallest are subnormal.
  static float scale(const std::uint8_t* block, int) {
    const std::uint32_t e = block[0];
    return bits_to_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }

  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    static_assert(J == 0);
    return V::lookup(fp4_table<V>(), V::nibbles(block + 1));
  }
  template <class V>
  static Halves<V> halves(typename V::Blocks blocks) {
    const Halves<V> index = nibble_halves<V>(blocks + 1);
    return {V::lookup(fp4_table<V>(), index.first), V::lookup(fp4_table<V>(), index.second)};
  }
};

}  // namespace
}  // namespace quantlinear::formats
