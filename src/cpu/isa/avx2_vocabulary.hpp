// The vocabulary of byte operations on AVX2 registers (meanings: scalar_vocabulary.hpp).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace quantlinear::cpu {
namespace {

struct Avx2Vocabulary {
  using Block = const std::uint8_t*;
  using U8x16 = __m128i;
  using U8x32 = __m256i;
  using Sixteens = U8x32;  ///< 16 bytes of each of some blocks
  struct Blocks {
    const std::uint8_t *first, *second;
    Blocks operator+(int byte) const { return {first + byte, second + byte}; }
  };

  static U8x32 load32(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static U8x16 load16(const std::uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static U8x16 load8(const std::uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }

  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) {
    return _mm_set_epi64x(static_cast<long long>(b), static_cast<long long>(a));
  }
  static U8x32 u64x4(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
    return join(u64x2(a, b), u64x2(c, d));
  }
  static U8x32 u32x8(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d, std::uint32_t e,
                     std::uint32_t f, std::uint32_t g, std::uint32_t h) {
    const auto i = [](std::uint32_t x) { return static_cast<int>(x); };
#if defined(__AVX512BW__)
    // Masked broadcasts from memory are loads without shuffles.
    const auto four = [&](std::uint32_t p, std::uint32_t q, std::uint32_t r, std::uint32_t s) {
      __m128i v = _mm_cvtsi32_si128(i(p));
      v = _mm_mask_set1_epi32(v, 2, i(q));
      v = _mm_mask_set1_epi32(v, 4, i(r));
      return _mm_mask_set1_epi32(v, 8, i(s));
    };
    return join(four(a, b, c, d), four(e, f, g, h));
#else
    return _mm256_setr_epi32(i(a), i(b), i(c), i(d), i(e), i(f), i(g), i(h));
#endif
  }
  static U8x32 join(U8x16 low, U8x16 high) { return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1); }
  static U8x16 low_half(U8x32 a) { return _mm256_castsi256_si128(a); }
  static U8x16 high_half(U8x32 a) { return _mm256_extracti128_si256(a, 1); }
  static U8x32 each_eight_times(std::uint32_t four) {
    return _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(four)),
                               _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  }
  static U8x32 sixteens(Blocks blocks) { return join(load16(blocks.first), load16(blocks.second)); }
  /// Sets bit `value` of byte i of first and second (formats::Halves) where bit i, 16 + i of the 32 at `bits` is set;
  /// reads 16 bytes there.
  template <class Halves>
  static Halves set_where(Halves u, Blocks bits, std::uint8_t value) {
    const auto set = [&](U8x32 to, U8x32 eight_times) { return bit_or(to, value_where_own(eight_times, value)); };
    const U8x32 words = sixteens(bits);
    const auto spread = [&](std::uint64_t low, std::uint64_t high) {
      return _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(u64x2(low, high)));
    };
    return {set(u.first, spread(0, 0x0101010101010101)), set(u.second, spread(0x0202020202020202, 0x0303030303030303))};
  }
  static U8x32 fill16(int value) { return _mm256_set1_epi16(static_cast<short>(value)); }
  static U8x32 fill(std::uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static U8x32 nibbles(const std::uint8_t* p) {
    const U8x16 bytes = load16(p);
    return bit_and(join(bytes, _mm_srli_epi16(bytes, 4)), fill(15));
  }
  /// The top four bits of eight qwords, dwords, as bytes 0 .. 7.
  static U8x16 top_nibbles_of_qwords(const std::uint8_t* p) {
#if defined(__AVX512BW__)
    return _mm512_cvtepi64_epi8(_mm512_srli_epi64(_mm512_loadu_si512(p), 60));
#else
    const U8x32 nibbles = _mm256_srli_epi32(high_dwords_by_twos(p), 28);
    const U8x16 a = _mm256_castsi256_si128(nibbles), b = _mm256_extracti128_si256(nibbles, 1);
    return low_bytes_of_dwords(_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b));
#endif
  }
  static U8x16 top_nibbles_of_dwords(const std::uint8_t* p) {
    const U8x32 nibbles = _mm256_srli_epi32(load32(p), 28);
#if defined(__AVX512BW__)
    return _mm256_cvtepi32_epi8(nibbles);
#else
    return low_bytes_of_dwords(_mm256_castsi256_si128(nibbles), _mm256_extracti128_si256(nibbles, 1));
#endif
  }
  /// 16 numbers of three bits: four in the low bits of each of four words.
  static U8x16 threes_of_words(const std::uint8_t* p) {
    const U8x32 words = _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(load8(p)),
        _mm256_setr_epi64x(0x0100010001000100, 0x0302030203020302, 0x0504050405040504, 0x0706070607060706));
#if defined(__AVX512BW__)
    const U8x32 threes = _mm256_srlv_epi16(words, _mm256_set1_epi64x(0x0009000600030000));
    return _mm256_cvtepi16_epi8(_mm256_and_si256(threes, _mm256_set1_epi16(7)));
#else
    const U8x32 tops = _mm256_mullo_epi16(words, _mm256_set1_epi64x(0x0001000800400200));  // in bits 9 .. 11
    const U8x32 threes = _mm256_and_si256(_mm256_srli_epi16(tops, 9), _mm256_set1_epi16(7));
    return _mm_packus_epi16(_mm256_castsi256_si128(threes), _mm256_extracti128_si256(threes, 1));
#endif
  }
  /// Bits 12 .. 14 of eight words, as bytes 0 .. 7.
  static U8x16 top_threes_of_words(const std::uint8_t* p) {
    const U8x16 threes = _mm_and_si128(_mm_srli_epi16(load16(p), 12), _mm_set1_epi16(7));
    return _mm_packus_epi16(threes, threes);
  }
  /// 2a + 1 of each byte.
  static U8x16 twice_plus_one(U8x16 a) { return _mm_or_si128(_mm_add_epi8(a, a), _mm_set1_epi8(1)); }
#if defined(__AVX512BW__)  // elsewhere the integer units are faster
  /// 16 numbers of six bits: the nibbles of 8 bytes, low ones first, with two bits each of the 4 bytes after them.
  static U8x16 nibbles_and_twos(const std::uint8_t* p) {
    const U8x16 low = load8(p);
    const U8x16 four = _mm_and_si128(_mm_unpacklo_epi64(low, _mm_srli_epi16(low, 4)), _mm_set1_epi8(15));
    std::int32_t top;
    std::memcpy(&top, p + 8, 4);
    const U8x16 two = _mm_srlv_epi32(_mm_set1_epi32(top), _mm_setr_epi32(0, 2, 4, 6));
    return _mm_or_si128(four, _mm_slli_epi16(_mm_and_si128(two, _mm_set1_epi8(3)), 4));
  }
#endif

  // Of a whole block, for code books.
  /// The high dwords of eight qwords.
  static U8x32 high_dwords(const std::uint8_t* p) { return _mm256_permute4x64_epi64(high_dwords_by_twos(p), 0xd8); }
  /// The top seven bits of 32 words, as bytes.
  static U8x32 top_sevens(const std::uint8_t* p) {
    const U8x32 a = _mm256_srli_epi16(load32(p), 9), b = _mm256_srli_epi16(load32(p + 32), 9);
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8);
  }
  /// The low 28 bits of eight dwords as four bytes of seven bits each.
  static U8x32 spread_sevens(U8x32 a) {
    const auto byte = [](U8x32 b, int mask) { return bit_and(b, _mm256_set1_epi32(mask)); };
    return bit_or(bit_or(byte(a, 0x7f), byte(_mm256_slli_epi32(a, 1), 0x7f00)),
                  bit_or(byte(_mm256_slli_epi32(a, 2), 0x7f0000), byte(_mm256_slli_epi32(a, 3), 0x7f000000)));
  }
  /// Bytes of seven bits: bit 7 makes the parity of each even.
  static U8x32 with_even_parity(U8x32 sevens) {
    const U8x32 nibble = bit_and(bit_xor(sevens, _mm256_srli_epi16(sevens, 4)), fill(15));
    return bit_or(sevens, lookup(u64x2(0x8000008000808000, 0x0080800080000080), nibble));
  }
  static U8x32 words_of(U8x16 bytes) { return _mm256_cvtepu8_epi16(bytes); }
  /// 16 words with numbers First .. First + 15 of so many bits, one after the other in `numbers`, from bit 8 on.
  template <int Bits, int First>
  static U8x32 add_high_bits(U8x32 words, U8x16 numbers) {
    static constexpr auto kSource = [] {
      struct {
        alignas(32) std::uint16_t byte[16], factor[16];
      } source{};
      for (int i = 0; i < 16; ++i) {
        source.byte[i] = static_cast<std::uint16_t>(0x8000 | Bits * (First + i) / 8);
        source.factor[i] = static_cast<std::uint16_t>(0x100 >> (Bits * i % 8));
      }
      return source;
    }();
    return high_bits(words, numbers, kSource.byte, kSource.factor, ((1 << Bits) - 1) << 8);
  }
  /// The same with four numbers of three bits in the low bits of each word of `numbers`.
  template <int First>
  static U8x32 add_threes(U8x32 words, U8x16 numbers) {
    static constexpr auto kSource = [] {
      struct {
        alignas(32) std::uint16_t byte[16], factor[16];
      } source{};
      for (int i = 0; i < 16; ++i) {
        const int low = (First + i) / 4 * 2;
        source.byte[i] = static_cast<std::uint16_t>(i % 4 == 3 ? 0x8000 | (low + 1) : low | (low + 1) << 8);
        source.factor[i] = static_cast<std::uint16_t>(i % 4 == 3 ? 0x80 : 0x100 >> (3 * (i % 4)));
      }
      return source;
    }();
    return high_bits(words, numbers, kSource.byte, kSource.factor, 0x700);
  }
  static U8x16 sub16(U8x16 a, std::uint8_t value) { return _mm_sub_epi8(a, _mm_set1_epi8(static_cast<char>(value))); }
  static U8x32 mask_from_bits(std::uint32_t bits) {
#if defined(__AVX512BW__)
    return _mm256_movm_epi8(bits);
#else
    // Each byte gets the byte of `bits` that holds its bit; all other bits are then set, so that the
    // byte is 0xff exactly if its own bit was.
    const __m256i source = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i others = _mm256_set1_epi64x(0x7fbfdfeff7fbfdfe);
    const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), source);
    return _mm256_cmpeq_epi8(_mm256_or_si256(spread, others), _mm256_set1_epi8(-1));
#endif
  }
  static U8x32 value_where(std::uint32_t bits, std::uint8_t value) {
#if defined(__AVX512BW__)
    return _mm256_maskz_set1_epi8(bits, static_cast<char>(value));
#else
    return value_where_own(each_eight_times(bits), value);
#endif
  }

  /// The low bits of `bits`, in order, where `mask` has ones.
  static std::uint64_t deposit(std::uint64_t bits, std::uint64_t mask) { return _pdep_u64(bits, mask); }
  /// The bits where `mask` has ones, in order, as the low bits.
  static std::uint64_t extract(std::uint64_t bits, std::uint64_t mask) { return _pext_u64(bits, mask); }

  static U8x32 bit_and(U8x32 a, U8x32 b) { return _mm256_and_si256(a, b); }
  static U8x32 bit_or(U8x32 a, U8x32 b) { return _mm256_or_si256(a, b); }
  static U8x32 bit_xor(U8x32 a, U8x32 b) { return _mm256_xor_si256(a, b); }
  static U8x32 add(U8x32 a, U8x32 b) { return _mm256_add_epi8(a, b); }
  static U8x32 sub(U8x32 a, U8x32 b) { return _mm256_sub_epi8(a, b); }
  static U8x32 above(U8x32 a, U8x32 b) {
    asm("" : "+x"(b));  // where it is constant GCC compares the minimum of both instead
    return _mm256_cmpgt_epi8(a, b);
  }
  template <int N>
  static U8x32 shr(U8x32 a) {
    return _mm256_srli_epi16(a, N);
  }
  template <int N>
  static U8x32 shl(U8x32 a) {
    return _mm256_slli_epi16(a, N);
  }
  static U8x32 lookup(U8x16 table, U8x32 index) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index);
  }

 private:
  /// `value` in byte i of each eight that has bit i, else 0. Of single bits the sign is taken, and only bit 7 is below
  /// zero: for that the value is, too.
  static U8x32 value_where_own(U8x32 bytes, std::uint8_t value) {
    const U8x32 values = _mm256_set1_epi64x(0x01010101010101LL * value | static_cast<long long>(256 - value) << 56);
    return _mm256_sign_epi8(values, bit_and(bytes, _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201))));
  }
  /// The high dwords of eight qwords, in the order 0, 1, 4, 5, 2, 3, 6, 7.
  static U8x32 high_dwords_by_twos(const std::uint8_t* p) {
    const __m256 a = _mm256_castsi256_ps(load32(p)), b = _mm256_castsi256_ps(load32(p + 32));
    return _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
  }
  /// Of eight dwords up to 127, as bytes 0 .. 7.
  static U8x16 low_bytes_of_dwords(U8x16 first, U8x16 second) {
    const U8x16 words = _mm_packus_epi32(first, second);
    return _mm_packus_epi16(words, words);
  }
  static U8x32 high_bits(U8x32 words, U8x16 numbers, const std::uint16_t* byte, const std::uint16_t* factor, int mask) {
    const auto at = [](const std::uint16_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); };
    const U8x32 spread = _mm256_mullo_epi16(lookup(numbers, at(byte)), at(factor));
    return bit_or(words, bit_and(spread, _mm256_set1_epi16(static_cast<short>(mask))));
  }
};

}  // namespace
}  // namespace quantlinear::cpu
