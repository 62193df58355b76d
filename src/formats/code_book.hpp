// What the code-book formats (IQ1_*, IQ2_*, IQ3_*, IQ4_*) share: signs, and bytes from look-ups.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

template <std::uint64_t Mask>
inline std::uint64_t scatter_bits(std::uint64_t bits) noexcept {
  if constexpr (Mask == 0) {
    return 0;
  } else {
    constexpr int kAt = std::countr_zero(Mask), kBits = std::countr_one(Mask >> kAt);
    constexpr std::uint64_t kOnes = (std::uint64_t{1} << kBits) - 1;
    return ((bits & kOnes) << kAt) | scatter_bits < Mask & ~(kOnes << kAt) > (bits >> kBits);
  }
}
/// The low bits of `bits`, in order, to where Mask has ones; by one instruction where V has it.
template <class V, std::uint64_t Mask>
inline std::uint64_t deposit(std::uint64_t bits) noexcept {
  if constexpr (requires { V::deposit(bits, Mask); }) {
    return V::deposit(bits, Mask);
  } else {
    return scatter_bits<Mask>(bits);
  }
}
template <std::uint64_t Mask>
inline std::uint64_t gather_bits(std::uint64_t bits) noexcept {
  if constexpr (Mask == 0) {
    return 0;
  } else {
    constexpr int kAt = std::countr_zero(Mask), kBits = std::countr_one(Mask >> kAt);
    constexpr std::uint64_t kOnes = (std::uint64_t{1} << kBits) - 1;
    return ((bits >> kAt) & kOnes) | (gather_bits < Mask & ~(kOnes << kAt) > (bits) << kBits);
  }
}
/// The bits where Mask has ones, in order, as the low bits.
template <class V, std::uint64_t Mask>
inline std::uint64_t extract(std::uint64_t bits) noexcept {
  if constexpr (requires { V::extract(bits, Mask); }) {
    return V::extract(bits, Mask);
  } else {
    return gather_bits<Mask>(bits);
  }
}

/// Four look-up indices as words: their low bytes, and from the low bits of `high` those where HighBits has ones.
template <class V, std::uint64_t HighBits>
inline std::uint64_t four_indices(std::uint32_t low_bytes, std::uint64_t high) noexcept {
  return deposit<V, 0x00ff00ff00ff00ffu>(low_bytes) | deposit<V, HighBits>(high);
}
/// The i-th of four words.
inline std::uint64_t word_of(std::uint64_t four, int i) noexcept { return (four >> (16 * i)) & 0xffffu; }

/// Bytes of 7 bits: bit 7 makes the parity of each even.
inline std::uint64_t with_even_parity(std::uint64_t seven) noexcept {
  std::uint64_t parity = seven ^ (seven >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | ((parity & 0x0101010101010101u) << 7);
}
/// Four 7-bit sign indices (28 bits) to 32 sign bits.
inline std::uint32_t signs_of(std::uint32_t indices) noexcept {
  return static_cast<std::uint32_t>(with_even_parity((indices & 0x7fu) | ((indices << 1) & 0x7f00u) |
                                                     ((indices << 2) & 0x7f0000u) | ((indices << 3) & 0x7f000000u)));
}

/// Signs of weights 32J .. 32J+31 of a format that has them as bits or as indices.
template <class V, class F, int J>
inline std::uint32_t signs_of_group(const std::uint8_t* block) noexcept {
  if constexpr (requires { F::template sign_bits<J>(block); }) {
    return F::template sign_bits<J>(block);
  } else {
    const std::uint32_t indices = F::template sign_indices<V, J>(block);
    if constexpr (requires { V::deposit(indices, indices); }) {
      return static_cast<std::uint32_t>(with_even_parity(V::deposit(indices & 0x0fffffffu, 0x7f7f7f7fu)));
    } else {
      return signs_of(indices);
    }
  }
}
/// Offset + magnitude, or offset - magnitude where the bit of `signs` is set.
template <class V>
inline typename V::U8x32 apply_signs(typename V::U8x32 magnitude, std::uint32_t signs, std::uint8_t offset) {
  const auto mask = V::mask_from_bits(signs);
  return V::add(V::sub(V::bit_xor(magnitude, mask), mask), V::fill(offset));
}

/// What `group` is in formats of magnitudes and signs (format.hpp).
template <class V, class F, int J>
inline typename V::U8x32 signed_group(const std::uint8_t* block) {
  return apply_signs<V>(F::template magnitudes<V, J>(block), signs_of_group<V, F, J>(block), F::kOffset);
}

/// One weight of a signed code book: the definition, one value at a time.
template <class Entry>
inline float signed_value(Entry magnitudes, int i, std::uint32_t signs, int bit) noexcept {
  const float magnitude = static_cast<float>((magnitudes >> (8 * i)) & 255u);
  return ((signs >> bit) & 1u) != 0 ? -magnitude : magnitude;
}

/// Eight 4-bit fields a .. h of 32 bits as bytes 2 * a + 1 ...: the sub-scales of most of these formats.
template <class V>
inline std::uint64_t odd_nibbles(std::uint32_t fields) noexcept {
  return deposit<V, 0x1e1e1e1e1e1e1e1eu>(fields) | 0x0101010101010101u;
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
