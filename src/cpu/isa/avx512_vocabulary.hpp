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
  static U8x64 join(U8x32 low, U8x32 high) { return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1); }
  /// 16 bytes each; halves of a register are put together first, which takes half as long.
  static U8x64 join(U8x16 a, U8x16 b, U8x16 c, U8x16 d) {
    return join(Avx2Vocabulary::join(a, b), Avx2Vocabulary::join(c, d));
  }
  static U8x64 load64(const std::uint8_t* p) { return once(_mm512_loadu_si512(p)); }
  /// 32 bytes, twice.
  static U8x64 load32_twice(const std::uint8_t* p) { return once(_mm512_broadcast_i64x4(Avx2Vocabulary::load32(p))); }
  static U8x64 sixteens(Blocks blocks) {
    return join(load16(blocks.first), load16(blocks.first + blocks.next), load16(blocks.second),
                load16(blocks.second + blocks.next));
  }
  /// Sets bit `value` of byte i of first and second (formats::Halves) where bit i, 16 + i of the 32 at `bits` is set.
  template <class Halves>
  static Halves set_where(Halves u, Blocks bits, std::uint8_t value) {
    return set_where(u, bits.first, bits.first + bits.next, bits.second, bits.second + bits.next, value);
  }
  /// The same with the 32 bits of each block.
  template <class Halves>
  static Halves set_where(Halves u, const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c,
                          const std::uint8_t* d, std::uint8_t value) {
    const auto bits = [](const std::uint8_t* p) -> std::uint64_t {
      std::uint32_t v;
      std::memcpy(&v, p, 4);
      return v;
    };
    const std::uint64_t ab = bits(a) | bits(b) << 32, cd = bits(c) | bits(d) << 32;
    constexpr std::uint64_t kLow = 0x0000ffff0000ffff;
    const std::uint64_t first = Avx2Vocabulary::extract(ab, kLow) | Avx2Vocabulary::extract(cd, kLow) << 32;
    const std::uint64_t second = Avx2Vocabulary::extract(ab, ~kLow) | Avx2Vocabulary::extract(cd, ~kLow) << 32;
    return {_mm512_mask_add_epi8(u.first, _cvtu64_mask64(first), u.first, fill(value)),
            _mm512_mask_add_epi8(u.second, _cvtu64_mask64(second), u.second, fill(value))};
  }
  static U8x64 load16_four_times(const std::uint8_t* p) {
    return once(_mm512_broadcast_i32x4(Avx2Vocabulary::load16(p)));
  }
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
    return move_bits<Low, Low, High, High>(a);
  }
  /// The same, of each 16 bytes.
  template <int A, int B, int C, int D>
  static U8x64 move_bits(U8x64 a) {
    constexpr auto kBy = [](int up) { return (up & 31) * 0x100000001; };
    return _mm512_rolv_epi32(a, _mm512_setr_epi64(kBy(A), kBy(A), kBy(B), kBy(B), kBy(C), kBy(C), kBy(D), kBy(D)));
  }
  /// The first 16 of each 32 bytes of a and b, or the second 16.
  template <int Which>
  static U8x64 every_other_16(U8x64 a, U8x64 b) {
    return _mm512_shuffle_i64x2(a, b, Which == 0 ? 0x88 : 0xdd);
  }
  /// Bytes of each 16 of `bytes`.
  static U8x64 lookup_in(U8x64 bytes, U8x16 index) { return _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(index)); }
  static U8x16 load8(const std::uint8_t* p) { return Avx2Vocabulary::load8(p); }
  static U8x16 load16(const std::uint8_t* p) { return Avx2Vocabulary::load16(p); }
  static U8x32 load32(const std::uint8_t* p) { return Avx2Vocabulary::load32(p); }
  static U8x64 add(U8x64 a, U8x64 b) { return _mm512_add_epi8(a, b); }
  static U8x64 lookup(U8x16 table, U8x64 index) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index); }
  /// Offset + a, or offset - a where the bit of `signs` is set.
  static U8x64 plus_or_minus(std::uint8_t offset, U8x64 a, std::uint64_t signs) {
    return _mm512_mask_sub_epi8(add(fill(offset), a), _cvtu64_mask64(signs), fill(offset), a);
  }

  // 32 words, for code books.
  static U8x64 words_of(U8x32 bytes) { return _mm512_cvtepu8_epi16(bytes); }
  static U8x64 even_bytes(U8x64 a) { return and_words(a, 0xff); }
  static U8x64 odd_bytes(U8x64 a) { return shr<8>(a); }
  /// The low four bytes of each qword.
  static U8x64 low_bytes_of_qwords(U8x64 a) {
    constexpr auto kSource = [](int at) {
      return static_cast<long long>(0x8003800280018000) + 0x0001000100010001 * at;
    };
    return _mm512_shuffle_epi8(a, _mm512_setr_epi64(kSource(0), kSource(8), kSource(0), kSource(8), kSource(0),
                                                    kSource(8), kSource(0), kSource(8)));
  }
  static U8x64 qwords_of(U8x32 dwords) { return _mm512_cvtepu32_epi64(dwords); }
  /// Four times seven bits from byte At of each qword on.
  template <int At>
  static U8x64 sevens(U8x64 qwords) {
    constexpr auto kSource = [](int at) { return 0x0302020101000100 + 0x0101010101010101 * (At + at); };
    const U8x64 words = _mm512_shuffle_epi8(qwords, _mm512_setr_epi64(kSource(0), kSource(8), kSource(0), kSource(8),
                                                                      kSource(0), kSource(8), kSource(0), kSource(8)));
    return and_words(_mm512_srlv_epi16(words, _mm512_set1_epi64(0x0005000600070000)), 0x7f);
  }
  /// Words of seven bits: bit 7 makes the parity even.
  static U8x64 with_even_parity(U8x64 sevens) {
    const U8x64 nibble = and_words(bit_xor(sevens, shr<4>(sevens)), 15);
    return bit_or(sevens, lookup(u64x2(0x8000008000808000, 0x0080800080000080), nibble));
  }
  static U8x64 and_words(U8x64 words, std::uint16_t mask) {
    return _mm512_and_si512(words, _mm512_set1_epi16(static_cast<short>(mask)));
  }
  template <int N>
  static U8x64 shl(U8x64 words) {
    return _mm512_slli_epi16(words, N);
  }
  /// Each bit from a where the mask has a one, else from b.
  static U8x64 select(std::uint16_t mask, U8x64 a, U8x64 b) {
    return _mm512_ternarylogic_epi32(_mm512_set1_epi16(static_cast<short>(mask)), a, b, 0xca);
  }
  /// Numbers of so many bits, one after the other, each from bit 8 of a word on; other bits mean nothing.
  template <int Bits>
  static U8x64 fields(U8x16 numbers) {
    static constexpr auto kSource = [] {
      struct {
        alignas(64) std::uint16_t byte[32], shift[32];
      } source{};
      for (int i = 0; i < 32; ++i) {
        source.byte[i] = static_cast<std::uint16_t>(0x80 | (Bits * i / 8) << 8);
        source.shift[i] = static_cast<std::uint16_t>(Bits * i % 8);
      }
      return source;
    }();
    const U8x64 bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(numbers), _mm512_load_si512(kSource.byte));
    return _mm512_srlv_epi16(bytes, _mm512_load_si512(kSource.shift));
  }
  /// Each of eight words four times.
  static U8x64 four_times(U8x16 eight) {
    constexpr auto kSource = [](int i) { return 0x0100010001000100 + 0x0202020202020202 * i; };
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(eight),
                               _mm512_setr_epi64(kSource(0), kSource(1), kSource(2), kSource(3), kSource(4), kSource(5),
                                                 kSource(6), kSource(7)));
  }
  /// Shifts four words right by 0, 3, 6 and 9, and so on.
  static U8x64 shr_by_threes(U8x64 words) { return _mm512_srlv_epi16(words, _mm512_set1_epi64(0x0009000600030000)); }
  /// Words 8J .. 8J + 7: the low byte of each, eight times.
  template <int J>
  static U8x64 low_bytes_eight_times(U8x64 words) {
    constexpr auto kSource = [](int i) { return 0x0202020202020202 * i; };
    return _mm512_shuffle_epi8(_mm512_shuffle_i64x2(words, words, 0x55 * J),
                               _mm512_setr_epi64(kSource(0), kSource(1), kSource(2), kSource(3), kSource(4), kSource(5),
                                                 kSource(6), kSource(7)));
  }
  /// table[index]; table is aligned to 64 bytes, and of an index as many bits are used as N has. Two registers of the
  /// table an instruction.
  template <std::size_t N>
  static U8x64 lookup_words(const std::uint16_t (&table)[N], U8x64 index) {
    return lookup_registers<N / 32>(table, index);
  }

 private:
  /// Ties what was loaded to a register: GCC reads it again from memory for each use otherwise, and most such loads
  /// cross a line.
  [[gnu::always_inline]] static U8x64 once(U8x64 v) {
    asm("" : "+v"(v));
    return v;
  }
  template <std::size_t Registers>
  static U8x64 lookup_registers(const std::uint16_t* table, U8x64 index) {
    if constexpr (Registers == 1) {
      return _mm512_permutexvar_epi16(index, _mm512_load_si512(table));
    } else if constexpr (Registers == 2) {
      return _mm512_permutex2var_epi16(_mm512_load_si512(table), index, _mm512_load_si512(table + 32));
    } else {
      const U8x64 low = lookup_registers<Registers / 2>(table, index);
      const U8x64 high = lookup_registers<Registers / 2>(table + 16 * Registers, index);
      return _mm512_mask_mov_epi16(low, _mm512_test_epi16_mask(index, _mm512_set1_epi16(16 * Registers)), high);
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
