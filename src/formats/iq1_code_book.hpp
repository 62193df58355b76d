// The code book that IQ1_S and IQ1_M share; a table entry holds 8 * value + 8 per byte.
#pragma once

#include "formats/code_book.hpp"
#include "formats/tables/iq1_grid.hpp"

namespace quantlinear::formats {
namespace {

/// Value i of an entry: -1, 0 or 1.
inline float grid_value(std::uint64_t entry, int i) noexcept {
  return static_cast<float>((entry >> (8 * i)) & 255u) * 0.125f - 1.0f;
}

/// The entries of four indices (code_book.hpp).
template <class V>
inline typename V::U8x32 grid_entries(std::uint64_t indices) {
  return V::u64x4(iq1_grid[word_of(indices, 0)], iq1_grid[word_of(indices, 1)], iq1_grid[word_of(indices, 2)],
                  iq1_grid[word_of(indices, 3)]);
}

/// For `codes` of these formats (format.hpp), whose bit 11 is set where delta is negative.
struct Iq1CodeBook {
  static constexpr auto& kEntries = iq1_grid;
  static constexpr int kIndexBits = 11;
  template <class W, int J>
  static typename W::U8x64 indexed_weights(typename W::U8x64 entries, typename W::U8x64 codes, const std::uint8_t*) {
    const auto plus = W::bit_xor(W::template shr<10>(W::and_words(codes, 0x800)), W::fill(2));
    return W::add(entries, W::template low_bytes_eight_times<J>(plus));
  }
};

}  // namespace
}  // namespace quantlinear::formats
