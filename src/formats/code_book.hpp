// What the code-book formats (IQ1_*, IQ2_*, IQ3_*, IQ4_*) share: signs, and bytes from look-ups.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

/// Bytes of 7 bits: bit 7 makes the parity of each even.
inline std::uint32_t with_even_parity(std::uint32_t seven) noexcept {
  std::uint32_t parity = seven ^ (seven >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | ((parity & 0x01010101u) << 7);
}
/// Four 7-bit sign indices (28 bits) to 32 sign bits.
inline std::uint32_t signs_of(std::uint32_t indices) noexcept {
  return with_even_parity((indices & 0x7fu) | ((indices << 1) & 0x7f00u) | ((indices << 2) & 0x7f0000u) |
                          ((indices << 3) & 0x7f000000u));
}

/// Offset + magnitude, or offset - magnitude where the bit of `signs` is set.
template <class V>
inline typename V::U8x32 apply_signs(typename V::U8x32 magnitude, std::uint32_t signs, std::uint8_t offset) {
  const auto mask = V::mask_from_bits(signs);
  return V::add(V::sub(V::bit_xor(magnitude, mask), mask), V::fill(offset));
}

/// One weight of a signed code book: the definition, one value at a time.
template <class Entry>
inline float signed_value(Entry magnitudes, int i, std::uint32_t signs, int bit) noexcept {
  const float magnitude = static_cast<float>((magnitudes >> (8 * i)) & 255u);
  return ((signs >> bit) & 1u) != 0 ? -magnitude : magnitude;
}

/// Eight 4-bit fields a .. h of 32 bits as bytes 2 * a + 1 ...: the sub-scales of most of these formats.
inline std::uint64_t odd_nibbles(std::uint32_t fields) noexcept {
  std::uint64_t x = fields;
  x = (x | (x << 16)) & 0x0000ffff0000ffffu;
  x = (x | (x << 8)) & 0x00ff00ff00ff00ffu;
  x = (x | (x << 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (x << 1) | 0x0101010101010101u;
}

/// The 16 values of IQ4_NL and IQ4_XS plus 128, as bytes.
template <class V>
inline typename V::U8x16 iq4_table() {
  return V::u64x2(0x766a5d4f3f2d1801u, 0xf1d9c5b5a6998d81u);
}
inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace
}  // namespace quantlinear::formats
