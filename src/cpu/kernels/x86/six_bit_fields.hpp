// Sub-scales and mins of a super-block as bytes; those of Q4_K and Q5_K, eight rows at once.
#pragma once

#include "cpu/kernels/x86/gemv_small.hpp"

namespace quantlinear::cpu {
namespace {

/// Of one row: s_j as signed bytes, m_j as unsigned bytes below 128.
struct SubScales {
  __m128i scales, mins;
};

template <class F>
[[gnu::always_inline]] inline SubScales sub_scales(const std::uint8_t* block) {
  SubScales s{F::template scales<V>(block), {}};
  if constexpr (F::kHasMin) s.mins = F::template mins<V>(block);
  return s;
}

template <class F>
inline constexpr bool kSixBit = requires { F::kSixBitFieldAt; };
/// Whether sums of mins are taken of eight rows at once, which is half the multiply-adds and half the transposition.
template <class F, class Meta>
inline constexpr bool kMinsOf8 = kSixBit<F> && sizeof(Meta) == sizeof(A8Meta);

/// mins(i): of two rows, as words. The sums over j of m_j * (sum of a over sub-block j): those of the first rows of
/// mins(0) .. mins(3), then those of the second ones.
template <class Mins>
[[gnu::always_inline]] inline __m256i sums_of_two_rows(const A8Meta& meta, Mins mins) {
  const __m256i a = _mm256_broadcastsi128_si256(load128(meta.sums32));
  __m256i v[4];
  for (int i = 0; i < 4; ++i) v[i] = _mm256_madd_epi16(mins(i), a);
  return pairs(pairs(v[0], v[1]), pairs(v[2], v[3]));
}

/// Six-bit fields (layout: formats/q4_k.hpp) of two rows to 8 sub-scales and 8 mins of each; reads four bytes past
/// each.
[[gnu::always_inline]] inline __m256i unpack_six_bits(const std::uint8_t* low_row, const std::uint8_t* high_row) {
  const __m256i fields = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(low_row)), load128(high_row), 1);
  const auto two = [](int a, int b, int c, int d) { return _mm256_broadcastsi128_si256(_mm_setr_epi32(a, b, c, d)); };
  // Dwords: scales 0..3, scales 4..7, mins 0..3, mins 4..7.
  const __m256i low_source = two(0x03020100, 0x0b0a0908, 0x07060504, 0x0b0a0908);
  const __m256i low_mask = two(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f);
  const __m256i high_source = two(-1, 0x03020100, -1, 0x07060504);
  const __m256i low = _mm256_srlv_epi32(_mm256_shuffle_epi8(fields, low_source), two(0, 0, 0, 4));
  const __m256i high = _mm256_srli_epi32(_mm256_shuffle_epi8(fields, high_source), 2);
  return _mm256_or_si256(_mm256_and_si256(low, low_mask), _mm256_and_si256(high, _mm256_set1_epi32(0x30303030)));
}

/// Sub-scales and mins of eight rows, unpacked by vectors, two rows at a time. Pays where there are vector units to
/// spare.
class SixBitFields {
 public:
  using OfRow = SubScales;
  /// Of the blocks `at` bytes from the start of each row.
  template <class F>
  [[gnu::always_inline]] void take(const Rows8& rows, std::size_t at) {
    unroll<4>([&]<int I>() {
      const auto field = [&](std::size_t row) { return rows.row(row, at) + F::kSixBitFieldAt; };
      store256(bytes_[I], unpack_six_bits(field(I), field(I + 4)));
    });
  }

  [[nodiscard, gnu::always_inline]] SubScales of(std::size_t row) const {
    const std::uint8_t* bytes = bytes_[row % 4] + 16 * (row / 4);
    return {V::load8(bytes), V::load8(bytes + 8)};
  }

  /// sum over j of m_j * (sum of a over sub-block j), of each row.
  [[nodiscard, gnu::always_inline]] __m256i min_sums(const A8Meta& meta) const {
    return sums_of_two_rows(meta,
                            [&](int i) { return _mm256_unpackhi_epi8(load256(bytes_[i]), _mm256_setzero_si256()); });
  }

 private:
  alignas(32) std::uint8_t bytes_[4][32];  // of rows 0 4, 1 5, 2 6, 3 7
};

/// Sub-scales of one row as words, twice.
struct ScaleWords {
  __m256i words;
};

/// The same, left in memory as words: one load for each row. Pays with one column, which waits for its operations most.
class SixBitWords {
 public:
  using OfRow = ScaleWords;
  template <class F>
  [[gnu::always_inline]] void take(const Rows8& rows, std::size_t at) {
    unroll<4>([&]<int I>() {
      const auto field = [&](std::size_t row) { return rows.row(row, at) + F::kSixBitFieldAt; };
      const __m256i bytes = unpack_six_bits(field(2 * I), field(2 * I + 1)), zero = _mm256_setzero_si256();
      store256(scales_ + 16 * I, _mm256_unpacklo_epi8(bytes, zero));
      store256(mins_ + 16 * I, _mm256_unpackhi_epi8(bytes, zero));
    });
  }
  [[nodiscard, gnu::always_inline]] ScaleWords of(std::size_t row) const {
    return {_mm256_broadcastsi128_si256(load128(scales_ + 8 * row))};
  }
  [[nodiscard, gnu::always_inline]] __m256i min_sums(const A8Meta& meta) const {
    const __m256i even_odd = sums_of_two_rows(meta, [&](int i) { return load256(mins_ + 16 * i); });
    return _mm256_permutevar8x32_epi32(even_odd, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }

 private:
  alignas(32) std::int16_t scales_[64], mins_[64];  // of 8 rows
};

/// The mins alone, of rows whose fields are unpacked one by one.
class SixBitMins {
 public:
  using OfRow = SubScales;
  [[gnu::always_inline]] void take(std::size_t row, const SubScales& sub) {
    bytes_[row % 4][row / 4] = _mm_cvtsi128_si64(sub.mins);
  }
  [[nodiscard, gnu::always_inline]] __m256i min_sums(const A8Meta& meta) const {
    return sums_of_two_rows(meta, [&](int i) { return _mm256_cvtepi8_epi16(load128(bytes_[i])); });
  }

 private:
  alignas(16) std::int64_t bytes_[4][2];  // of rows 0 4, 1 5, 2 6, 3 7
};

}  // namespace
}  // namespace quantlinear::cpu
