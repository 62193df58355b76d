// Byte operations on AVX-512 registers, for formats that unpack 64 weights at a time (`quarter`, formats/format.hpp).
#pragma once

#include "cpu/isa/avx2_vocabulary.hpp"

namespace quantlinear::cpu {
namespace {

struct Avx512Vocabulary {
  using U8x16 = __m128i;
  using U8x64 = __m512i;

  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) { return Avx2Vocabulary::u64x2(a, b); }
  static U8x64 load64(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  /// 32 bytes, twice.
  static U8x64 load32_twice(const std::uint8_t* p) { return _mm512_broadcast_i64x4(Avx2Vocabulary::load32(p)); }
  static U8x64 fill(std::uint8_t value) { return _mm512_set1_epi32(0x01010101 * value); }
  static U8x64 bit_and(U8x64 a, U8x64 b) { return _mm512_and_si512(a, b); }
  static U8x64 bit_or(U8x64 a, U8x64 b) { return _mm512_or_si512(a, b); }
  /// Shifts 16-bit words right: only bits that stay in their byte mean anything.
  template <int N>
  static U8x64 shr(U8x64 a) {
    return _mm512_srli_epi16(a, N);
  }
  /// Moves bits up within their byte, by Low in the first 32 bytes and by High in the others; negative is down. Other
  /// bits than those that stay in their byte mean nothing.
  template <int Low, int High>
  static U8x64 move_bits(U8x64 a) {
    constexpr long long kLow = (Low & 31) * 0x100000001, kHigh = (High & 31) * 0x100000001;
    return _mm512_rolv_epi32(a, _mm512_setr_epi64(kLow, kLow, kLow, kLow, kHigh, kHigh, kHigh, kHigh));
  }
  static U8x64 lookup(U8x16 table, U8x64 index) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index); }
};

}  // namespace
}  // namespace quantlinear::cpu
