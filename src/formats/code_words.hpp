// Code books of up to 512 entries as words of short codes, which are looked up in registers (`planes`, format.hpp).
//
// A code has a number for each magnitude of its entry. Those of weights 2P and 2P + 1 of eight are the low bits of the
// two bytes of a word after one shift; with a sign above each, one more look-up gives the weights. W is a vocabulary of
// 64-byte registers that hold 32 words.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

template <std::size_t N>
struct WordTable {
  alignas(64) std::uint16_t at[N];
};
/// Where the number of value i of an entry begins: 4 or 8 numbers a word.
template <class Entry>
constexpr std::size_t place(std::size_t i) {
  return i % 2 * 8 + i / 2 * (16 / sizeof(Entry));
}
template <class Entry, std::size_t N, std::size_t Values>
consteval WordTable<N> code_words(const Entry (&entries)[N], const std::uint8_t (&values)[Values]) {
  WordTable<N> table{};
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t i = 0; i < sizeof(Entry); ++i) {
      unsigned number = 0;
      while (values[number] != ((entries[n] >> (8 * i)) & 255u)) ++number;
      table.at[n] = static_cast<std::uint16_t>(table.at[n] | (number << place<Entry>(i)));
    }
  }
  return table;
}
/// Offset + values[i] at i and offset - values[i] at Count + i, of a power of two.
template <class W, std::size_t Count>
inline typename W::U8x16 signed_table(const std::uint8_t (&values)[Count], int offset) {
  std::uint64_t half[2] = {};
  for (std::size_t i = 0; i < 2 * Count; ++i) {
    const int value = i < Count ? offset + values[i] : offset - values[i - Count];
    half[i / 8] |= static_cast<std::uint64_t>(value) << (8 * (i % 8));
  }
  return W::u64x2(half[0], half[1]);
}
/// The weights of a block of IQ3. What all planes need is computed once, as compilers do not see that it is the same.
template <class W>
class Iq3Planes {
 public:
  using U8x64 = typename W::U8x64;
  /// Codes of the even and of the odd entries, and the signs of each eight weights.
  [[gnu::always_inline]] Iq3Planes(const std::uint8_t (&magnitudes)[8], int offset, U8x64 even, U8x64 odd, U8x64 signs)
      : table_(signed_table<W>(magnitudes, offset)),
        even_(W::bit_or(even, W::lookup_words(kSigns.at, signs))),
        odd_(W::bit_or(odd, W::lookup_words(kSigns.at, W::template shr<4>(signs)))) {}
  /// Weights 8i + 2P and 8i + 2P + 1 in word i.
  template <int P>
  [[gnu::always_inline]] U8x64 plane() const {
    const auto codes = P < 2 ? even_ : odd_;
    return W::lookup(table_, W::and_words(P % 2 == 0 ? codes : W::template shr<4>(codes), 0x0f0f));
  }

 private:
  static constexpr auto kSigns = [] {  // of four signs those that belong to the entry, above its numbers
    WordTable<32> table{};
    for (std::size_t n = 0; n < 32; ++n) {
      for (std::size_t i = 0; i < 4; ++i) {
        table.at[n] = static_cast<std::uint16_t>(table.at[n] | (((n >> i) & 1u) << (place<std::uint32_t>(i) + 3)));
      }
    }
    return table;
  }();
  typename W::U8x16 table_;
  U8x64 even_, odd_;
};

/// The magnitudes of IQ2; the last is none.
inline constexpr std::uint8_t kIq2Magnitudes[4] = {8, 25, 43, 0};
/// The weights of a block of IQ2, likewise: codes of entries of eight magnitudes, and their signs.
template <class W>
class Iq2Planes {
 public:
  using U8x64 = typename W::U8x64;
  [[gnu::always_inline]] Iq2Planes(int offset, U8x64 codes, U8x64 signs)
      : table_(signed_table<W>(kIq2Magnitudes, offset)),
        codes_(codes),
        // Sign j at bit j, sign j + 1 at bit 8 + j. Odd bits are zero, and so are bits 3 and 7 of the bytes below; bits
        // 4 to 6 mean nothing to a look-up.
        signs_(W::and_words(W::bit_or(signs, W::template shl<7>(signs)), 0x5555)) {}
  /// Weights 8i + 2P and 8i + 2P + 1 in word i.
  template <int P>
  [[gnu::always_inline]] U8x64 plane() const {
    const auto shifted = [&] {
      if constexpr (P == 0) {
        return W::template shl<2>(signs_);
      } else {
        return W::template shr<2 * P - 2>(signs_);
      }
    }();
    return W::lookup(table_, W::select(0x0303, W::template shr<2 * P>(codes_), shifted));
  }

 private:
  typename W::U8x16 table_;
  U8x64 codes_, signs_;
};

}  // namespace
}  // namespace quantlinear::formats
