// The 12-byte field of 8 six-bit sub-scales and 8 six-bit mins that Q4_K and Q5_K share.
// The layout is described in q4_k.hpp.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct SixBitPair {
  int scale;
  int min;
};

/// Pair j of the field, one at a time: the definition.
inline SixBitPair six_bit_pair(const std::uint8_t* field, int j) noexcept {
  if (j < 4) return {field[j] & 63, field[j + 4] & 63};
  return {(field[j + 4] & 15) | ((field[j - 4] >> 6) << 4), (field[j + 4] >> 4) | ((field[j] >> 6) << 4)};
}

/// All eight at once, one per byte, in three 32-bit words: a few integer operations a block.
inline std::uint64_t six_bit_scales(const std::uint8_t* field) noexcept {
  const std::uint32_t low = le32(field);
  const std::uint32_t last = le32(field + 8);
  return (low & 0x3f3f3f3fu) | (std::uint64_t{(last & 0x0f0f0f0fu) | ((low >> 2) & 0x30303030u)} << 32);
}
inline std::uint64_t six_bit_mins(const std::uint8_t* field) noexcept {
  const std::uint32_t middle = le32(field + 4);
  const std::uint32_t last = le32(field + 8);
  return (middle & 0x3f3f3f3fu) | (std::uint64_t{((last >> 4) & 0x0f0f0f0fu) | ((middle >> 2) & 0x30303030u)} << 32);
}

/// The same for weights of many rows side by side.
template <class V>
inline Quads<V, 2> six_bit_scale_quads(typename V::Block field) {
  const auto low = V::quad(field), last = V::quad(field + 8);
  return {{V::bit_and(low, V::fill(63)),
           V::bit_or(V::bit_and(last, V::fill(15)), V::bit_and(V::template shr<2>(low), V::fill(48)))}};
}
template <class V>
inline Quads<V, 2> six_bit_min_quads(typename V::Block field) {
  const auto middle = V::quad(field + 4), last = V::quad(field + 8);
  return {{V::bit_and(middle, V::fill(63)), V::bit_or(V::bit_and(V::template shr<4>(last), V::fill(15)),
                                                      V::bit_and(V::template shr<2>(middle), V::fill(48)))}};
}

}  // namespace
}  // namespace quantlinear::formats
