// TQ1_0: 256 ternary weights in 54 bytes (1.6875 bits per weight).
//
//   bytes 0..31  five weights each: trit n of byte i is weight 32n + i
//   bytes 32..47 five weights each: trit n of byte 32 + i is weight 160 + 16n + i
//   bytes 48..51 four weights each: trit n of byte 48 + i is weight 240 + 4n + i
//   bytes 52..53 d    half
//
//   A byte is a fraction of 256 in base 3: trit n is floor(3 * ((byte * 3^n) mod 256) / 256).
//   w = d * (trit - 1)
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct TQ1_0 {
  static constexpr GgufQuantType kType = GgufQuantType::TQ1_0;
  static constexpr Family kFamily = Family::super_block;
  static constexpr int kBlockElements = 256;
  static constexpr int kBlockBytes = 54;
  static constexpr int kMaxU = 2;
  static constexpr int kOffset = 1;
  static constexpr int kScaleStep = 32;
  static constexpr int kMaxScale = 1;
  static constexpr bool kHasMin = false;
  static constexpr float kFactor = 1.0f;

  static void dequantize(const std::uint8_t* block, float* out) {
    const float d = half_to_float(d_bits(block));
    for (int i = 0; i < 256; ++i) {
      const int n = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
      const int byte = i < 160 ? block[i % 32] : i < 240 ? block[32 + i % 16] : block[48 + i % 4];
      constexpr int kPower[5] = {1, 3, 9, 27, 81};
      const int trit = (((byte * kPower[n]) & 255) * 3) >> 8;
      out[i] = static_cast<float>(trit - 1) * d;
    }
  }

  static std::uint16_t d_bits(const std::uint8_t* block) { return le16(block + 52); }

  template <class V>
  static typename V::U8x16 scales(const std::uint8_t*) {
    return V::u64x2(0x0101010101010101u, 0);
  }
  template <class V, int J>
  static typename V::U8x32 group(const std::uint8_t* block) {
    [[maybe_unused]] constexpr std::uint64_t kBoth = ~std::uint64_t{0}, kSecond = kBoth << 32;  // halves
    if constexpr (J < 5) {
      return first_trit<V>(times_three<V, J>(signed_bytes<V>(V::load32(block))));
    } else if constexpr (J < 7) {
      // Trits 2(J-5) and 2(J-5)+1 of 16 bytes, side by side.
      const auto bytes = V::load16(block + 32);
      const auto both = times_three<V, 2 * (J - 5)>(signed_bytes<V>(V::join(bytes, bytes)));
      return first_trit<V>(times_three_where<V>(both, V::u64x4(0, 0, kBoth, kBoth)));
    } else {
      // Trit 4 of those, and all four of the last four bytes.
      const std::uint64_t four = le32(block + 48), twice = four | (four << 32);
      auto both = signed_bytes<V>(V::join(V::load16(block + 32), V::u64x2(twice, twice)));
      both = times_three_where<V>(both, V::u64x4(kBoth, kBoth, kSecond, kSecond));
      both = times_three_where<V>(both, V::u64x4(kBoth, kBoth, 0, 0));
      both = times_three_where<V>(both, V::u64x4(kBoth, kBoth, 0, kBoth));
      return first_trit<V>(times_three_where<V>(both, V::u64x4(kBoth, kBoth, 0, kBoth)));
    }
  }
  static constexpr QuarterOrder kQuarterOrder = {{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 14, 15}, {10, 11, 12, 13}}};
  template <class W, int J>
  static typename W::U8x64 quarter(const std::uint8_t* block) {
    // Trits 0 and 1, 2 and 3 of the first 32 bytes; 4 of those and of the next 16, with all four of the last 4; 0 to 3
    // of those 16.
    constexpr std::uint64_t kPowers[4] = {0x1111111100000000, 0x3333333322222222, 0x3210444444444444,
                                          0x3333222211110000};
    const auto bytes = [&] {
      if constexpr (J < 2) {
        return W::load32_twice(block);
      } else if constexpr (J == 2) {
        return W::load32_16_4(block);
      } else {
        return W::load16_four_times(block + 32);
      }
    }();
    return W::template trits<kPowers[J]>(bytes);
  }

 private:
  // Of bytes less 128, modulo 256: multiplied by three they are those of three times the byte.
  template <class V>
  static typename V::U8x32 signed_bytes(typename V::U8x32 bytes) {
    return V::bit_xor(bytes, V::fill(128));
  }
  template <class V>
  static typename V::U8x32 times_three_where(typename V::U8x32 bytes, typename V::U8x32 mask) {
    return V::add(bytes, V::bit_and(V::add(bytes, bytes), mask));
  }
  /// Times 3^N.
  template <class V, int N>
  static typename V::U8x32 times_three(typename V::U8x32 bytes) {
    if constexpr (N == 0) {
      return bytes;
    } else {
      const auto before = times_three<V, N - 1>(bytes);
      return V::add(V::add(before, before), before);
    }
  }
  /// floor(3 * byte / 256): 1 from 86 on, 2 from 171 on.
  template <class V>
  static typename V::U8x32 first_trit(typename V::U8x32 bytes) {
    return V::sub(V::sub(V::fill(0), V::above(bytes, V::fill((86 - 1) ^ 128))),
                  V::above(bytes, V::fill((171 - 1) ^ 128)));
  }
};

}  // namespace
}  // namespace quantlinear::formats
