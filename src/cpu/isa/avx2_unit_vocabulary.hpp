// Byte operations on 64 bytes in two AVX2 registers (`quarter`, formats/format.hpp): of their four units of 16, one
// holds the first and the third, the other one the second and the fourth; or the first and the second, and the others.
#pragma once

#include "cpu/isa/avx2_vocabulary.hpp"

namespace quantlinear::cpu {
namespace {

struct Avx2UnitVocabulary {
  using U8x16 = __m128i;
  struct U8x64 {
    __m256i even, odd;
  };

  static U8x64 load64(const std::uint8_t* p) { return {units(p, p + 32), units(p + 16, p + 48)}; }
  /// 32 bytes, twice.
  static U8x64 load32_twice(const std::uint8_t* p) {
    return {_mm256_broadcastsi128_si256(Avx2Vocabulary::load16(p)),
            _mm256_broadcastsi128_si256(Avx2Vocabulary::load16(p + 16))};
  }
  static __m256i fill(std::uint8_t value) { return Avx2Vocabulary::fill(value); }
  static U8x64 bit_and(U8x64 a, __m256i b) { return {_mm256_and_si256(a.even, b), _mm256_and_si256(a.odd, b)}; }
  static U8x64 bit_or(U8x64 a, U8x64 b) { return {_mm256_or_si256(a.even, b.even), _mm256_or_si256(a.odd, b.odd)}; }
  template <int N>
  static U8x64 shr(U8x64 a) {
    return {_mm256_srli_epi16(a.even, N), _mm256_srli_epi16(a.odd, N)};
  }
  /// Moves bits up within their byte, by Low in the first 32 bytes and by High in the others; negative is down. Other
  /// bits than those that stay in their byte mean nothing.
  template <int Low, int High>
  static U8x64 move_bits(U8x64 a) {
    return {moved<Low, High>(a.even), moved<Low, High>(a.odd)};
  }

  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) { return Avx2Vocabulary::u64x2(a, b); }
  /// Bytes looked up for code that takes 128 off them by flipping the sign bit: compilers drop both flips.
  static U8x64 lookup(U8x16 table, U8x64 index) {
    const __m256i flip = fill(128), signed_table = _mm256_xor_si256(_mm256_broadcastsi128_si256(table), flip);
    return {_mm256_xor_si256(_mm256_shuffle_epi8(signed_table, index.even), flip),
            _mm256_xor_si256(_mm256_shuffle_epi8(signed_table, index.odd), flip)};
  }

  /// 16 bytes at each of two places.
  static __m256i units(const std::uint8_t* low, const std::uint8_t* high) {
    return Avx2Vocabulary::join(Avx2Vocabulary::load16(low), Avx2Vocabulary::load16(high));
  }

 private:
  template <int Low, int High>
  static __m256i moved(__m256i a) {
    if constexpr (Low >= 0 && High >= 0) {
      return _mm256_sllv_epi32(a, lanes(Low, High));
    } else if constexpr (Low <= 0 && High <= 0) {
      return _mm256_srlv_epi32(a, lanes(-Low, -High));
    } else {
      // A shift by 32 gives 0.
      const __m256i up = _mm256_sllv_epi32(a, lanes(Low < 0 ? 32 : Low, High < 0 ? 32 : High));
      const __m256i down = _mm256_srlv_epi32(a, lanes(Low < 0 ? -Low : 32, High < 0 ? -High : 32));
      return _mm256_or_si256(up, down);
    }
  }
  static __m256i lanes(int low, int high) { return _mm256_setr_epi32(low, low, low, low, high, high, high, high); }
};

/// A load for each register, where nothing is gained by units of one group in both.
struct Avx2HalfVocabulary : Avx2UnitVocabulary {
  static U8x64 load64(const std::uint8_t* p) { return {Avx2Vocabulary::load32(p), Avx2Vocabulary::load32(p + 32)}; }
  static U8x64 load32_twice(const std::uint8_t* p) = delete;
  template <int Low, int High>
  static U8x64 move_bits(U8x64 a) = delete;
};

}  // namespace
}  // namespace quantlinear::cpu
