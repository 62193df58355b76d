// The vocabulary of byte operations in plain C++: the meaning of each operation, and the fallback
// for every machine. The compilers turn the loops into whatever the baseline has (SSE2, NEON).
//
// Every vocabulary has these members; formats (src/formats) use nothing else.
#pragma once

#include <cstdint>
#include <cstring>

namespace quantlinear::cpu {
namespace {

struct ScalarVocabulary {
  using Block = const std::uint8_t*;
  struct U8x16 {
    std::uint8_t byte[16];
  };
  struct U8x32 {
    std::uint8_t byte[32];
  };

  /// 32 or 16 unaligned bytes; load8 fills the upper eight with zeros.
  static U8x32 load32(const std::uint8_t* p) { return load<U8x32>(p, 32); }
  static U8x16 load16(const std::uint8_t* p) { return load<U8x16>(p, 16); }
  static U8x16 load8(const std::uint8_t* p) { return load<U8x16>(p, 8); }

  /// From integers, lowest byte first.
  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) {
    U8x16 r;
    for (int i = 0; i < 8; ++i) {
      r.byte[i] = static_cast<std::uint8_t>(a >> (8 * i));
      r.byte[8 + i] = static_cast<std::uint8_t>(b >> (8 * i));
    }
    return r;
  }
  static U8x32 u64x4(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
    return join(u64x2(a, b), u64x2(c, d));
  }
  static U8x32 u32x8(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d, std::uint32_t e,
                     std::uint32_t f, std::uint32_t g, std::uint32_t h) {
    return u64x4(a | (std::uint64_t{b} << 32), c | (std::uint64_t{d} << 32), e | (std::uint64_t{f} << 32),
                 g | (std::uint64_t{h} << 32));
  }
  /// Two halves side by side: `low` becomes bytes 0..15.
  static U8x32 join(U8x16 low, U8x16 high) {
    U8x32 r;
    std::memcpy(r.byte, low.byte, 16);
    std::memcpy(r.byte + 16, high.byte, 16);
    return r;
  }
  /// Bytes 0..15, and bytes 16..31.
  static U8x16 low_half(const U8x32& a) { return load16(a.byte); }
  static U8x16 high_half(const U8x32& a) { return load16(a.byte + 16); }
  /// Byte i / 8 of `four`, lowest first.
  static U8x32 each_eight_times(std::uint32_t four) {
    U8x32 r;
    for (int i = 0; i < 32; ++i) r.byte[i] = static_cast<std::uint8_t>(four >> (8 * (i / 8)));
    return r;
  }
  /// Takes `value` off every byte.
  static U8x16 sub16(U8x16 a, std::uint8_t value) {
    for (std::uint8_t& byte : a.byte) byte = static_cast<std::uint8_t>(byte - value);
    return a;
  }
  /// The same byte everywhere.
  static U8x32 fill(std::uint8_t value) {
    U8x32 r;
    std::memset(r.byte, value, 32);
    return r;
  }
  /// 16 bytes to 32 nibbles: the low nibbles, then the high ones.
  static U8x32 nibbles(const std::uint8_t* p) {
    U8x32 r;
    for (int i = 0; i < 16; ++i) {
      r.byte[i] = p[i] & 15;
      r.byte[16 + i] = p[i] >> 4;
    }
    return r;
  }
  /// Byte i becomes 0xff if bit i is set, else 0.
  static U8x32 mask_from_bits(std::uint32_t bits) {
    U8x32 r;
    for (int i = 0; i < 32; ++i) r.byte[i] = ((bits >> i) & 1) != 0 ? 0xff : 0;
    return r;
  }
  /// Byte i becomes `value`, up to 127, if bit i is set, else 0.
  static U8x32 value_where(std::uint32_t bits, std::uint8_t value) {
    return bit_and(mask_from_bits(bits), fill(value));
  }

  /// Each byte on its own; sums and differences wrap.
  static U8x32 bit_and(U8x32 a, U8x32 b) {
    return map(a, b, [](int x, int y) { return x & y; });
  }
  static U8x32 bit_or(U8x32 a, U8x32 b) {
    return map(a, b, [](int x, int y) { return x | y; });
  }
  static U8x32 bit_xor(U8x32 a, U8x32 b) {
    return map(a, b, [](int x, int y) { return x ^ y; });
  }
  static U8x32 add(U8x32 a, U8x32 b) {
    return map(a, b, [](int x, int y) { return x + y; });
  }
  static U8x32 sub(U8x32 a, U8x32 b) {
    return map(a, b, [](int x, int y) { return x - y; });
  }

  /// Byte i becomes 0xff if a > b as signed bytes, else 0.
  static U8x32 above(U8x32 a, U8x32 b) {
    return map(a, b, [](int x, int y) { return (x ^ 128) > (y ^ 128) ? 255 : 0; });
  }

  /// Shifts by N bits. Bits of a NEIGHBOURING BYTE may move in: the caller masks them away, as
  /// instruction sets without byte shifts shift 16-bit pairs.
  template <int N>
  static U8x32 shr(U8x32 a) {
    return map(a, a, [](int x, int) { return x >> N; });
  }
  template <int N>
  static U8x32 shl(U8x32 a) {
    return map(a, a, [](int x, int) { return x << N; });
  }
  /// table[index], index in 0..15.
  static U8x32 lookup(U8x16 table, U8x32 index) {
    U8x32 r;
    for (int i = 0; i < 32; ++i) r.byte[i] = table.byte[index.byte[i] & 15];
    return r;
  }

 private:
  template <class T>
  static T load(const std::uint8_t* p, std::size_t count) {
    T r{};
    std::memcpy(r.byte, p, count);
    return r;
  }
  template <class F>
  static U8x32 map(U8x32 a, U8x32 b, F f) {
    U8x32 r;
    for (int i = 0; i < 32; ++i) r.byte[i] = static_cast<std::uint8_t>(f(a.byte[i], b.byte[i]));
    return r;
  }
};

}  // namespace
}  // namespace quantlinear::cpu
