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
    return _mm256_setr_epi32(i(a), i(b), i(c), i(d), i(e), i(f), i(g), i(h));
  }
  static U8x32 join(U8x16 low, U8x16 high) { return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1); }
  static U8x16 low_half(U8x32 a) { return _mm256_castsi256_si128(a); }
  static U8x16 high_half(U8x32 a) { return _mm256_extracti128_si256(a, 1); }
  static U8x32 each_eight_times(std::uint32_t four) {
    return _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(four)),
                               _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  }
  static U8x32 sixteens(Blocks blocks) { return join(load16(blocks.first), load16(blocks.second)); }
  /// Sets bit `value` of byte i of first and second (formats::Halves) where bit i, 16 + i of the 32 at `bits` is set.
  template <class Halves>
  static Halves set_where(Halves u, Blocks bits, std::uint8_t value) {
    std::uint32_t a, b;
    std::memcpy(&a, bits.first, 4);
    std::memcpy(&b, bits.second, 4);
    return {bit_or(u.first, bit_and(mask_from_bits((a & 0xffffU) | (b << 16)), fill(value))),
            bit_or(u.second, bit_and(mask_from_bits((a >> 16) | (b & 0xffff0000U)), fill(value)))};
  }
  static U8x32 fill(std::uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static U8x32 nibbles(const std::uint8_t* p) {
    const U8x16 bytes = load16(p);
    return bit_and(join(bytes, _mm_srli_epi16(bytes, 4)), fill(15));
  }
  static U8x32 mask_from_bits(std::uint32_t bits) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
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

  /// The low bits of `bits`, in order, where `mask` has ones.
  static std::uint64_t deposit(std::uint64_t bits, std::uint64_t mask) { return _pdep_u64(bits, mask); }
  /// The bits where `mask` has ones, in order, as the low bits.
  static std::uint64_t extract(std::uint64_t bits, std::uint64_t mask) { return _pext_u64(bits, mask); }

  static U8x32 bit_and(U8x32 a, U8x32 b) { return _mm256_and_si256(a, b); }
  static U8x32 bit_or(U8x32 a, U8x32 b) { return _mm256_or_si256(a, b); }
  static U8x32 bit_xor(U8x32 a, U8x32 b) { return _mm256_xor_si256(a, b); }
  static U8x32 add(U8x32 a, U8x32 b) { return _mm256_add_epi8(a, b); }
  static U8x32 sub(U8x32 a, U8x32 b) { return _mm256_sub_epi8(a, b); }
  static U8x32 at_least(U8x32 a, U8x32 b) { return _mm256_cmpeq_epi8(_mm256_max_epu8(a, b), a); }
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
};

}  // namespace
}  // namespace quantlinear::cpu
