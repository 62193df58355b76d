// Byte operations on AVX-512 registers, for formats that unpack 64 weights at a time (`quarter`, formats/format.hpp) or
// the signs of a whole block.
#pragma once

#include "cpu/isa/avx2_vocabulary.hpp"

namespace quantlinear::cpu {
namespace {

struct Avx512Vocabulary {
  using U8x16 = __m128i;
  using U8x32 = __m256i;
  using U8x64 = __m512i;
  using Sixteens = U8x64;
  /// Two blocks of each of two rows, `next` bytes apart.
  struct Blocks {
    const std::uint8_t *first, *second;
    std::size_t next;
    Blocks operator+(int byte) const { return {first + byte, second + byte, next}; }
  };

  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) { return Avx2Vocabulary::u64x2(a, b); }
  static U8x64 load64(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  /// 32 bytes, twice.
  static U8x64 load32_twice(const std::uint8_t* p) { return _mm512_broadcast_i64x4(Avx2Vocabulary::load32(p)); }
  static U8x64 sixteens(Blocks blocks) {
    // Masked broadcasts from memory are loads without shuffles.
    using V = Avx2Vocabulary;
    U8x64 v = _mm512_castsi128_si512(V::load16(blocks.first));
    v = _mm512_inserti32x4(v, V::load16(blocks.first + blocks.next), 1);
    v = _mm512_inserti32x4(v, V::load16(blocks.second), 2);
    return _mm512_inserti32x4(v, V::load16(blocks.second + blocks.next), 3);
  }
  /// Sets bit `value` of byte i of first and second (formats::Halves) where bit i, 16 + i of the 32 at `bits` is set;
  /// reads 16 bytes there.
  template <class Halves>
  static Halves set_where(Halves u, Blocks bits, std::uint8_t value) {
    const U8x64 each = _mm512_set1_epi64(static_cast<long long>(0x8040201008040201));
    const auto set = [&](U8x64 to, U8x64 eight_times) {
      return _mm512_mask_add_epi8(to, _mm512_test_epi8_mask(eight_times, each), to, fill(value));
    };
    const U8x64 words = sixteens(bits);
    return {set(u.first, lookup_in(words, Avx2Vocabulary::u64x2(0, 0x0101010101010101))),
            set(u.second, lookup_in(words, Avx2Vocabulary::u64x2(0x0202020202020202, 0x0303030303030303)))};
  }
  static U8x64 load16_four_times(const std::uint8_t* p) { return _mm512_broadcast_i32x4(Avx2Vocabulary::load16(p)); }
  /// 32 bytes, 16 bytes, and four times the 4 bytes after them.
  static U8x64 load32_16_4(const std::uint8_t* p) {
    std::int32_t last;
    std::memcpy(&last, p + 48, 4);
    const U8x64 v = _mm512_castsi256_si512(load32(p));
    return _mm512_inserti32x4(_mm512_inserti32x4(v, Avx2Vocabulary::load16(p + 32), 2), _mm_set1_epi32(last), 3);
  }
  /// floor(3 * (x * 3^n mod 256) / 256) of bytes x; n of the i-th four of them is hexadecimal digit i of Powers.
  template <std::uint64_t Powers>
  static U8x64 trits(U8x64 x) {
    static constexpr auto kFactors = [] {
      constexpr std::uint32_t kPowers[5] = {1, 3, 9, 27, 81};
      struct {
        alignas(64) std::uint32_t odd[16], even[16];
      } factors{};
      for (int i = 0; i < 16; ++i) {
        factors.odd[i] = 0x00010001U * kPowers[(Powers >> (4 * i)) & 15];
        factors.even[i] = factors.odd[i] << 8;
      }
      return factors;
    }();
    // Words whose high byte is x * 3^n mod 256 and whose low byte is zero.
    const U8x64 even = _mm512_mullo_epi16(x, _mm512_load_si512(kFactors.even));
    const U8x64 odd = _mm512_mullo_epi16(_mm512_and_si512(x, _mm512_set1_epi16(-256)), _mm512_load_si512(kFactors.odd));
    const U8x64 low = _mm512_mulhi_epu16(even, _mm512_set1_epi16(3));
    const U8x64 high = _mm512_mulhi_epu16(odd, _mm512_set1_epi16(3 * 256));
    return _mm512_ternarylogic_epi32(low, high, _mm512_set1_epi16(0x300), 0xf8);  // low | (high & 0x300)
  }
  static U8x64 fill(std::uint8_t value) { return _mm512_set1_epi32(static_cast<int>(0x01010101U * value)); }
  static U8x64 bit_and(U8x64 a, U8x64 b) { return _mm512_and_si512(a, b); }
  static U8x64 bit_xor(U8x64 a, U8x64 b) { return _mm512_xor_si512(a, b); }
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
  /// Bytes of each 16 of `bytes`.
  static U8x64 lookup_in(U8x64 bytes, U8x16 index) { return _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(index)); }
  static U8x32 load32(const std::uint8_t* p) { return Avx2Vocabulary::load32(p); }
  /// The high halves of eight qwords.
  static U8x32 high_dwords(U8x64 a) { return _mm512_cvtepi64_epi32(_mm512_srli_epi64(a, 32)); }
  /// The top seven bits of 32 words, as bytes.
  static U8x32 top_sevens(U8x64 words) { return _mm512_cvtepi16_epi8(_mm512_srli_epi16(words, 9)); }
  /// The low 28 bits of eight dwords as four bytes of seven bits each.
  static U8x32 spread_sevens(U8x32 a) {
    const auto next = [](U8x32 to, U8x32 from, int mask) {
      return _mm256_ternarylogic_epi32(to, from, _mm256_set1_epi32(mask), 0xf8);  // to | (from & mask)
    };
    U8x32 r = _mm256_and_si256(a, _mm256_set1_epi32(0x7f));
    r = next(r, _mm256_slli_epi32(a, 1), 0x7f00);
    r = next(r, _mm256_slli_epi32(a, 2), 0x7f0000);
    return next(r, _mm256_slli_epi32(a, 3), 0x7f000000);
  }
  /// Bytes of 7 bits: bit 7 makes the parity of each even.
  static U8x32 with_even_parity(U8x32 sevens) {
    const __m256i odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(sevens, 4), _mm256_set1_epi8(7));
    const __m256i low = _mm256_and_si256(sevens, _mm256_set1_epi8(15));
    return _mm256_or_si256(sevens, _mm256_xor_si256(_mm256_shuffle_epi8(odd, low), _mm256_shuffle_epi8(odd, high)));
  }
  static U8x64 lookup(U8x16 table, U8x64 index) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index); }
};

}  // namespace
}  // namespace quantlinear::cpu
