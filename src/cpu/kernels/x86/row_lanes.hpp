// Interleaved weights (cpu/interleaved_layout.hpp): a register holds 4 consecutive bytes of each of 8 or 16 rows.
//
// RowLanes is the vocabulary in which a format's `group` unpacks 32 weights of all these rows at once, without a
// shuffle: its U8x32 are eight registers, the i-th with weights 4i .. 4i+3.
#pragma once

#include "cpu/interleaved_layout.hpp"
#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// Which sub-block of a super-block the i-th four weights of group g are in.
template <class F>
constexpr int sub_block_of(int g, int i) {
  return F::kScaleStep == 32 ? g : 2 * g + i / 4;
}

/// Operations on registers of 8 rows.
struct Rows8Lanes {
  using Reg = __m256i;
  using Floats = __m256;
  static constexpr std::size_t kRows = 8;

  static Reg load(const std::uint8_t* p) { return load256(p); }
  static Reg fill8(std::uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static Reg table(__m128i t) { return _mm256_broadcastsi128_si256(t); }
  static Reg bit_and(Reg a, Reg b) { return _mm256_and_si256(a, b); }
  static Reg bit_or(Reg a, Reg b) { return _mm256_or_si256(a, b); }
  static Reg bit_xor(Reg a, Reg b) { return _mm256_xor_si256(a, b); }
  static Reg sub8(Reg a, Reg b) { return _mm256_sub_epi8(a, b); }
  /// `value` in the bytes of a that have the one bit which the same byte of kBits has, else 0. Of single bits the sign
  /// is taken, and only bit 7, of the last byte, is below zero: for that the value is, too.
  template <std::uint32_t kBits>
  static Reg value_where(Reg a, std::uint8_t value) {
    constexpr bool kBelow = kBits >> 31 != 0;
    const std::uint32_t last = kBelow ? 256u - value : value;
    const Reg values = fill32(static_cast<std::int32_t>(0x010101u * value | last << 24));
    return _mm256_sign_epi8(values, bit_and(a, fill32(static_cast<std::int32_t>(kBits))));
  }
  static Reg shuffle(Reg a, Reg index) { return _mm256_shuffle_epi8(a, index); }
  template <int N>
  static Reg shr16(Reg a) {
    return _mm256_srli_epi16(a, N);
  }
  template <int N>
  static Reg shl16(Reg a) {
    return _mm256_slli_epi16(a, N);
  }
  static void store(void* p, Reg v) { store256(p, v); }
  static Reg fill16(int value) { return _mm256_set1_epi16(static_cast<short>(value)); }
  static Reg multiply_words(Reg a, Reg b) { return _mm256_mullo_epi16(a, b); }
  static Reg sub_words(Reg a, Reg b) { return _mm256_sub_epi16(a, b); }
  /// Bytes 0 and 1, or 2 and 3, of each dword as unsigned words.
  static Reg low_words(Reg a) { return _mm256_shuffle_epi8(a, table(byte_pattern(0, 0x80, 1, 0x80))); }
  static Reg high_words(Reg a) { return _mm256_shuffle_epi8(a, table(byte_pattern(2, 0x80, 3, 0x80))); }
  /// 16 bytes at p of rows I and I + 4; the dwords, qwords of two such, in turn.
  template <int I>
  [[gnu::always_inline]] static Reg load_fours(const std::uint8_t* p, const Rows8& rows) {
    const __m128i low = load128(rows.row<I>(p)), high = load128(rows.row<I + 4>(p));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  }
  static Reg low_dwords(Reg a, Reg b) { return _mm256_unpacklo_epi32(a, b); }
  static Reg high_dwords(Reg a, Reg b) { return _mm256_unpackhi_epi32(a, b); }
  static Reg low_qwords(Reg a, Reg b) { return _mm256_unpacklo_epi64(a, b); }
  static Reg high_qwords(Reg a, Reg b) { return _mm256_unpackhi_epi64(a, b); }
  static Reg zero() { return _mm256_setzero_si256(); }
  static Reg broadcast(const void* p) { return broadcast32(p); }
  static Reg fill32(std::int32_t value) { return _mm256_set1_epi32(value); }
  static Reg add(Reg a, Reg b) { return _mm256_add_epi32(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm256_sub_epi32(a, b); }
  static Reg multiply(Reg a, Reg b) { return _mm256_mullo_epi32(a, b); }
  static Reg multiply_add_words(Reg acc, Reg a, Reg b) { return add(acc, _mm256_madd_epi16(a, b)); }
  /// The low halves of the dwords of a and b, as words in turn.
  static Reg low_halves(Reg a, Reg b) { return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa); }
  /// Bytes B and C of each dword as int16 (low, high), sign extended.
  template <int B, int C>
  static Reg words(Reg quad) {
    return _mm256_srai_epi16(_mm256_shuffle_epi8(quad, table(byte_pattern(0x80, B, 0x80, C))), 8);
  }
  /// Byte B of each dword as int32, sign extended.
  template <int B>
  static Reg dword(Reg quad) {
    return B == 3 ? _mm256_srai_epi32(quad, 24) : _mm256_srai_epi32(_mm256_slli_epi32(quad, 24 - 8 * B), 24);
  }
  static __m128i byte_pattern(int a, int b, int c, int d) {
    const auto at = [](int byte, int lane) { return static_cast<char>(byte == 0x80 ? byte : 4 * lane + byte); };
    return _mm_setr_epi8(at(a, 0), at(b, 0), at(c, 0), at(d, 0), at(a, 1), at(b, 1), at(c, 1), at(d, 1), at(a, 2),
                         at(b, 2), at(c, 2), at(d, 2), at(a, 3), at(b, 3), at(c, 3), at(d, 3));
  }
  /// Halves that stand side by side; and the low and the high half of each dword.
  static Floats halves(const std::uint8_t* p) { return _mm256_cvtph_ps(load128(p)); }
  struct TwoFloats {
    Floats low, high;
  };
  static TwoFloats low_high_halves(Reg v) {
    const __m256i packed = _mm256_packus_epi32(_mm256_and_si256(v, fill32(0xffff)), _mm256_srli_epi32(v, 16));
    const __m256i ordered = _mm256_permute4x64_epi64(packed, 0xd8);
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(ordered)), _mm256_cvtph_ps(_mm256_extracti128_si256(ordered, 1))};
  }
  static Floats zero_floats() { return _mm256_setzero_ps(); }
  static Floats fill_floats(float value) { return _mm256_set1_ps(value); }
  static Floats multiply_floats(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats add_floats(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  /// acc +- scale * float(sum), rounded once.
  static Floats step(Floats acc, Floats scale, Reg sum) { return _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum), acc); }
  static Floats step_minus(Floats acc, Floats scale, Reg sum) {
    return _mm256_fnmadd_ps(scale, _mm256_cvtepi32_ps(sum), acc);
  }
  static Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
  static void store_floats(float* p, Floats v) { _mm256_storeu_ps(p, v); }
};

/// vpmaddubsw: sums of as many products as fit int16, widened by the multiply-add that applies the scale.
struct Avx2Lanes : Rows8Lanes {
  template <class F>
  static constexpr bool kSigned = F::kMaxU > 128;  // sums are of q * a, else of u * a

  /// totals[c] += scale * sum of u(i) * (4 values of column c from `at` + 4i on) over i in [Begin, End).
  /// unpack.operator()<I>() is u(I); once for each, since there is no room for all of them beside the sums.
  template <class F, int Begin, int End, int C>
  [[gnu::always_inline]] static void dot(Reg (&totals)[C], const auto& unpack, const ChunkX<A8Meta>& x, int at,
                                         Reg scale) {
    constexpr int kFit = kSigned<F> ? 1 : 32767 / (2 * 127 * F::kMaxU);
    Reg sums[C];
    unroll<End - Begin>([&]<int I>() __attribute__((always_inline)) {
      const Reg u = unpack.template operator()<Begin + I>();
      for (int c = 0; c < C; ++c) {
        const Reg a = broadcast(x.column(c) + at + 4 * (Begin + I));
        Reg p;
        if constexpr (kSigned<F>) {
          static_assert(F::kOffset == 128);
          const Reg w = bit_xor(u, fill8(128));
          p = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
        } else {
          p = _mm256_maddubs_epi16(u, a);
        }
        sums[c] = I % kFit == 0 ? p : _mm256_add_epi16(sums[c], p);
        // Ties the sum to a register: GCC puts all additions of a column behind all products otherwise, and spills.
        asm volatile("" : "+v"(sums[c]));
        if constexpr (kFit == 1) add_widened(totals[c], sums[c], scale);
      }
      if constexpr (kFit != 1 && ((I + 1) % kFit == 0 || I + 1 == End - Begin)) {
        for (int c = 0; c < C; ++c) add_widened(totals[c], sums[c], scale);
      }
    });
  }

 private:
  [[gnu::always_inline]] static void add_widened(Reg& total, Reg sum, Reg scale) {
    total = multiply_add_words(total, sum, scale);
    asm volatile("" : "+v"(total));
  }
};

/// Whether these lanes have a four-byte dot product.
template <class L>
inline constexpr bool kDotsBytes = requires(typename L::Reg v, const std::int8_t* a) { L::dot_bytes(v, v, a); };

/// sums[c] += u[i] * (4 values of column c from `at` + 4i on) over i in [Begin, End), by a four-byte dot product, which
/// does not saturate.
template <class L, int Begin, int End, int C>
[[gnu::always_inline]] inline void add_products(typename L::Reg (&sums)[C], const typename L::Reg (&u)[8],
                                                const ChunkX<A8Meta>& x, int at) {
  unroll<End - Begin>([&]<int I>() __attribute__((always_inline)) {
    for (int c = 0; c < C; ++c) {
      sums[c] = L::dot_bytes(sums[c], u[Begin + I], x.column(c) + at + 4 * (Begin + I));
      if constexpr (C > 1) asm volatile("" : "+v"(sums[c]));
    }
  });
}

/// Whether sums of 16 products fit int16, so that two of them side by side are multiplied by their sub-scales at once.
template <class F>
inline constexpr bool kSumsInPairs = F::kMaxScale > 1 && 16 * 127 * F::kMaxU <= 32767;

#if defined(__AVXVNNI__)
/// vpdpbusd on 8 rows.
struct AvxVnniLanes : Rows8Lanes {
  template <class F>
  static constexpr bool kSigned = false;
  /// acc + sums of four u times the four values at a.
  static Reg dot_bytes(Reg acc, Reg u, const std::int8_t* a) { return _mm256_dpbusd_avx_epi32(acc, u, broadcast(a)); }
  /// acc + sums of two w times the two values at a.
  static Reg dot_words(Reg acc, Reg w, const std::int8_t* a) { return _mm256_dpwssd_avx_epi32(acc, w, broadcast(a)); }
};
#endif

#if defined(__AVX512VNNI__)
/// vpdpbusd on 16 rows.
struct Avx512Lanes {
  using Reg = __m512i;
  using Floats = __m512;
  static constexpr std::size_t kRows = 16;
  template <class F>
  static constexpr bool kSigned = false;

  static Reg load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  static Reg fill8(std::uint8_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  static Reg table(__m128i t) { return _mm512_broadcast_i32x4(t); }
  static Reg bit_and(Reg a, Reg b) { return _mm512_and_si512(a, b); }
  static Reg bit_or(Reg a, Reg b) { return _mm512_or_si512(a, b); }
  static Reg bit_xor(Reg a, Reg b) { return _mm512_xor_si512(a, b); }
  static Reg sub8(Reg a, Reg b) { return _mm512_sub_epi8(a, b); }
  template <std::uint32_t kBits>
  static Reg value_where(Reg a, std::uint8_t value) {
    const __mmask64 set = _mm512_test_epi8_mask(a, fill32(static_cast<std::int32_t>(kBits)));
    return _mm512_maskz_set1_epi8(set, static_cast<char>(value));
  }
  static Reg shuffle(Reg a, Reg index) { return _mm512_shuffle_epi8(a, index); }
  template <int N>
  static Reg shr16(Reg a) {
    return _mm512_srli_epi16(a, N);
  }
  template <int N>
  static Reg shl16(Reg a) {
    return _mm512_slli_epi16(a, N);
  }
  static void store(void* p, Reg v) { _mm512_storeu_si512(p, v); }
  static Reg fill16(int value) { return _mm512_set1_epi16(static_cast<short>(value)); }
  static Reg multiply_words(Reg a, Reg b) { return _mm512_mullo_epi16(a, b); }
  static Reg sub_words(Reg a, Reg b) { return _mm512_sub_epi16(a, b); }
  static Reg low_words(Reg a) { return _mm512_shuffle_epi8(a, table(Rows8Lanes::byte_pattern(0, 0x80, 1, 0x80))); }
  static Reg high_words(Reg a) { return _mm512_shuffle_epi8(a, table(Rows8Lanes::byte_pattern(2, 0x80, 3, 0x80))); }
  /// Of rows I, I + 4, I + 8 and I + 12. Halves first: an insertion into 256 bits takes half as long as one into 512.
  template <int I>
  [[gnu::always_inline]] static Reg load_fours(const std::uint8_t* p, const Rows8& rows) {
    const std::uint8_t* p8 = p + 8 * rows.stride;
    asm("" : "+r"(p8));
    const __m256i low = Rows8Lanes::load_fours<I>(p, rows), high = Rows8Lanes::load_fours<I>(p8, rows);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  static Reg low_dwords(Reg a, Reg b) { return _mm512_unpacklo_epi32(a, b); }
  static Reg high_dwords(Reg a, Reg b) { return _mm512_unpackhi_epi32(a, b); }
  static Reg low_qwords(Reg a, Reg b) { return _mm512_unpacklo_epi64(a, b); }
  static Reg high_qwords(Reg a, Reg b) { return _mm512_unpackhi_epi64(a, b); }
  static Reg zero() { return _mm512_setzero_si512(); }
  static Reg broadcast(const void* p) {
    std::int32_t value;
    std::memcpy(&value, p, 4);
    return _mm512_set1_epi32(value);
  }
  static Reg fill32(std::int32_t value) { return _mm512_set1_epi32(value); }
  static Reg add(Reg a, Reg b) { return _mm512_add_epi32(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_epi32(a, b); }
  static Reg multiply(Reg a, Reg b) { return _mm512_mullo_epi32(a, b); }
  static Reg multiply_add_words(Reg acc, Reg a, Reg b) { return _mm512_dpwssd_epi32(acc, a, b); }
  static Reg low_halves(Reg a, Reg b) { return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16)); }
  template <int B, int C>
  static Reg words(Reg quad) {
    return _mm512_srai_epi16(_mm512_shuffle_epi8(quad, table(Rows8Lanes::byte_pattern(0x80, B, 0x80, C))), 8);
  }
  template <int B>
  static Reg dword(Reg quad) {
    return B == 3 ? _mm512_srai_epi32(quad, 24) : _mm512_srai_epi32(_mm512_slli_epi32(quad, 24 - 8 * B), 24);
  }
  static Floats halves(const std::uint8_t* p) { return _mm512_cvtph_ps(load256(p)); }
  struct TwoFloats {
    Floats low, high;
  };
  static TwoFloats low_high_halves(Reg v) {
    return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)),
            _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)))};
  }
  static Floats zero_floats() { return _mm512_setzero_ps(); }
  static Floats fill_floats(float value) { return _mm512_set1_ps(value); }
  static Floats multiply_floats(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats add_floats(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats step(Floats acc, Floats scale, Reg sum) { return _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc); }
  static Floats step_minus(Floats acc, Floats scale, Reg sum) {
    return _mm512_fnmadd_ps(scale, _mm512_cvtepi32_ps(sum), acc);
  }
  static Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
  static void store_floats(float* p, Floats v) { _mm512_storeu_ps(p, v); }

  // In assembly, because GCC 12 broadcasts in an instruction of its own: a sixth of all, in loops of thousands.
  [[gnu::always_inline]] static Reg dot_bytes(Reg acc, Reg u, const std::int8_t* a) {
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(u), "m"(*reinterpret_cast<const std::int8_t(*)[4]>(a)));
    return acc;
  }
  [[gnu::always_inline]] static Reg dot_words(Reg acc, Reg w, const std::int8_t* a) {
    asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*reinterpret_cast<const std::int8_t(*)[4]>(a)));
    return acc;
  }
};
#endif

/// The planes of one block of the rows of a register; + as if to a byte of the block, of which four stand in a plane.
template <class L>
struct LanesBlock {
  const std::uint8_t* p;
  LanesBlock operator+(int byte) const { return {p + static_cast<std::ptrdiff_t>(kInterleavedRows) * byte}; }
  /// 32 bits of each row (formats read them by this name).
  friend typename L::Reg le32(LanesBlock b) { return L::load(b.p); }
};

/// The vocabulary. Of the eight registers of 32 weights it unpacks those from Begin to End - 1.
template <class L, int Begin = 0, int End = 8>
struct RowLanes {
  using Quad = typename L::Reg;
  static constexpr int kRegisters = End - Begin;
  struct U8x32 {
    Quad q[kRegisters];
  };
  struct Fill {
    Quad q;
  };
  using U8x16 = __m128i;  // tables
  using Block = LanesBlock<L>;
  static constexpr std::size_t kPlane = 4 * kInterleavedRows;

  static Quad quad(Block b) { return L::load(b.p); }
  static Quad quad_of(std::uint8_t value) { return L::fill8(value); }
  static U8x32 load32(Block b) {
    return each([&](int i) { return L::load(b.p + kPlane * static_cast<std::size_t>(Begin + i)); });
  }
  static U8x32 nibbles(Block b) {
    return each([&](int i) {
      const int at = Begin + i;
      const Quad bytes = L::load(b.p + kPlane * static_cast<std::size_t>(at % 4));
      return L::bit_and(at < 4 ? bytes : L::template shr16<4>(bytes), L::fill8(15));
    });
  }
  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) {
    return _mm_set_epi64x(static_cast<long long>(b), static_cast<long long>(a));
  }
  static Fill fill(std::uint8_t value) { return {L::fill8(value)}; }
  static Fill fill_quad(std::uint32_t bytes) { return {L::fill32(static_cast<std::int32_t>(bytes))}; }
  /// Bytes A, B, C and D of each row's four.
  template <int A, int B, int C, int D>
  static Quad bytes(Quad a) {
    return L::shuffle(a, L::table(Rows8Lanes::byte_pattern(A, B, C, D)));
  }

  static Quad bit_and(Quad a, Fill b) { return L::bit_and(a, b.q); }
  static Quad bit_or(Quad a, Quad b) { return L::bit_or(a, b); }
  static Quad bit_xor(Quad a, Fill b) { return L::bit_xor(a, b.q); }
  static Quad sub(Quad a, Fill b) { return L::sub8(a, b.q); }
  template <int N>
  static Quad shr(Quad a) {
    return L::template shr16<N>(a);
  }
  template <int N>
  static Quad shl(Quad a) {
    return L::template shl16<N>(a);
  }
  static U8x32 bit_and(const U8x32& a, Fill b) {
    return each([&](int i) { return L::bit_and(a.q[i], b.q); });
  }
  static U8x32 bit_or(const U8x32& a, const U8x32& b) {
    return each([&](int i) { return L::bit_or(a.q[i], b.q[i]); });
  }
  static U8x32 bit_xor(const U8x32& a, Fill b) {
    return each([&](int i) { return L::bit_xor(a.q[i], b.q); });
  }
  template <int N>
  static U8x32 shr(const U8x32& a) {
    return each([&](int i) { return L::template shr16<N>(a.q[i]); });
  }
  template <int N>
  static U8x32 shl(const U8x32& a) {
    return each([&](int i) { return L::template shl16<N>(a.q[i]); });
  }
  static U8x32 value_where(Quad bits, std::uint8_t value) {
    U8x32 r;
    unroll<kRegisters>([&]<int I>() __attribute__((always_inline)) {
      constexpr int kAt = Begin + I, kByte = kAt / 2;
      constexpr std::uint32_t kBits = kAt % 2 == 0 ? 0x08040201 : 0x80402010;
      r.q[I] = L::template value_where<kBits>(bytes<kByte, kByte, kByte, kByte>(bits), value);
    });
    return r;
  }
  static U8x32 lookup(U8x16 table, const U8x32& index) {
    return each([&](int i) { return L::shuffle(L::table(table), index.q[i]); });
  }

 protected:
  [[gnu::always_inline]] static U8x32 each(auto of) {
    U8x32 r;
#pragma GCC unroll 8
    for (int i = 0; i < kRegisters; ++i) r.q[i] = of(i);
    return r;
  }
};

/// As SignedLookups.
template <class L, int Begin = 0, int End = 8>
struct SignedRowLanes : RowLanes<L, Begin, End> {
  using Base = RowLanes<L, Begin, End>;
  using typename Base::U8x16;
  using typename Base::U8x32;
  static U8x32 lookup(U8x16 table, const U8x32& index) {
    const auto flip = L::fill8(128);
    const auto signed_table = L::bit_xor(L::table(table), flip);
    return Base::each([&](int i) { return L::bit_xor(L::shuffle(signed_table, index.q[i]), flip); });
  }
};
template <class F, class L, int Begin = 0, int End = 8>
using LaneVocabulary =
    std::conditional_t<L::template kSigned<F>, SignedRowLanes<L, Begin, End>, RowLanes<L, Begin, End>>;

}  // namespace
}  // namespace quantlinear::cpu
