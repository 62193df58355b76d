// Building blocks on 256-bit registers that the GEMV and the panel packers share.
//
// Canonical f32 sum of eight lanes (docs/numerics.md): ((l0+l1)+(l2+l3)) + ((l4+l5)+(l6+l7)).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/isa/avx2_vocabulary.hpp"
#include "cpu/kernel_table.hpp"
#include "formats/format.hpp"

namespace quantlinear::cpu {
namespace {

using formats::Family;
using V = Avx2Vocabulary;

/// f.template operator()<0>() ... <N-1>(): loops whose index must be a constant.
template <int N, class Function>
[[gnu::always_inline]] inline void unroll(Function&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    (f.template operator()<I>(), ...);
  }(std::make_integer_sequence<int, N>{});
}

[[gnu::always_inline]] inline __m256i load256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
[[gnu::always_inline]] inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
[[gnu::always_inline]] inline void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

/// The 32 bits at p in every lane: a load, no shuffle.
[[gnu::always_inline]] inline __m256i broadcast32(const void* p) {
  std::int32_t value;
  std::memcpy(&value, p, 4);
  return _mm256_set1_epi32(value);
}

/// 8 x 8 transposition of 32-bit lanes: row i of the result is lane i of the arguments.
[[gnu::always_inline]] inline void transpose8(__m256i (&r)[8]) {
  __m256i t[8];
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  __m256i s[8];  // s[0..3]: lanes 0,4 | 1,5 | 2,6 | 3,7 of rows 0..3; s[4..7] of rows 4..7
  for (int i = 0; i < 2; ++i) {
    s[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    s[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    s[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    s[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2x128_si256(s[i], s[i + 4], 0x20);
    r[i + 4] = _mm256_permute2x128_si256(s[i], s[i + 4], 0x31);
  }
}

/// Sums of the low and of the high four lanes of eight vectors: lane i of the results is of v[i].
struct HalfSums {
  __m256i low, high;
};
[[gnu::always_inline]] inline HalfSums half_sums(const __m256i (&v)[8]) {
  const auto pairs = [](__m256i a, __m256i b) {  // a0+a1 a2+a3 b0+b1 b2+b3, in each 128-bit lane
    const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    return _mm256_add_epi32(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
                            _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
  };
  const __m256i a = pairs(pairs(v[0], v[1]), pairs(v[2], v[3]));
  const __m256i b = pairs(pairs(v[4], v[5]), pairs(v[6], v[7]));
  return {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
}
/// Sums of all lanes of eight vectors.
[[gnu::always_inline]] inline __m256i sums8(const __m256i (&v)[8]) {
  const HalfSums s = half_sums(v);
  return _mm256_add_epi32(s.low, s.high);
}

/// The canonical f32 sums of eight vectors.
[[gnu::always_inline]] inline __m256 sums8(const __m256 (&v)[8]) {
  const auto pairs = [](__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
  };
  const __m256 a = pairs(pairs(v[0], v[1]), pairs(v[2], v[3]));
  const __m256 b = pairs(pairs(v[4], v[5]), pairs(v[6], v[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

/// Eight rows of a matrix, the last one repeated where there are fewer: never read past the end.
struct Rows8 {
  const std::uint8_t* row[8];
  std::size_t count;  ///< rows that exist, 1..8

  Rows8(const std::uint8_t* weights, std::size_t row_bytes, std::size_t first, std::size_t end)
      : count(end - first < 8 ? end - first : 8) {
    for (std::size_t i = 0; i < 8; ++i) row[i] = weights + (first + (i < count ? i : count - 1)) * row_bytes;
  }
};

/// Where the activations of chunk `chunk` and column `c0` start.
template <class Meta>
struct ChunkX {
  const std::int8_t* q;  // bytes; int16 values have twice as many
  const Meta* meta;

  ChunkX(const Activations& x, std::size_t chunk, std::size_t c0)
      : q(static_cast<const std::int8_t*>(x.values) + (chunk * x.m + c0) * kColumnBytes),
        meta(static_cast<const Meta*>(x.meta) + chunk * x.m + c0) {}
  static constexpr std::size_t kColumnBytes = kChunk * (sizeof(Meta) == sizeof(A8Meta) ? 1 : 2);
  [[nodiscard]] const std::int8_t* column(int c) const { return q + static_cast<std::size_t>(c) * kColumnBytes; }
};

/// half(f(block)) of eight rows as f32; `bytes` is the position of the block in its row.
template <class HalfOf>
[[gnu::always_inline]] inline __m256 halves8(const Rows8& rows, std::size_t bytes, HalfOf half_of) {
  __m128i v = _mm_cvtsi32_si128(half_of(rows.row[0] + bytes));
  unroll<7>([&]<int I>() { v = _mm_insert_epi16(v, half_of(rows.row[I + 1] + bytes), I + 1); });
  return _mm256_cvtph_ps(v);
}

/// Scale of weights J*kScaleStep.. of one block of eight rows (super_block: d, with its factor).
template <class F, int J = 0>
[[gnu::always_inline]] inline __m256 scales8(const Rows8& rows, std::size_t bytes) {
  if constexpr (requires(const std::uint8_t* b) { F::scale(b, 0); }) {
    float s[8];
    for (int i = 0; i < 8; ++i) s[i] = F::scale(rows.row[i] + bytes, J);
    return _mm256_setr_ps(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
  } else {
    const __m256 d = halves8(rows, bytes, [](const std::uint8_t* b) { return F::d_bits(b); });
    if constexpr (F::kFamily == Family::super_block) {
      if constexpr (F::kFactor != 1.0f) return _mm256_mul_ps(d, _mm256_set1_ps(F::kFactor));
    }
    return d;
  }
}

/// 32 unsigned bytes to two registers of 16-bit words, in the order of a16 activations.
struct Words32 {
  __m256i low, high;
};
[[gnu::always_inline]] inline Words32 widen(__m256i u) {
  const __m256i zero = _mm256_setzero_si256();
  return {_mm256_unpacklo_epi8(u, zero), _mm256_unpackhi_epi8(u, zero)};
}

/// Sub-scales of a super-block, spread so that lanes<J>() is one shuffle: the scales of weights
/// 32J .. 32J+15 in the low and of 32J+16 .. 32J+31 in the high half, as 16-bit words.
template <class F>
struct ScaleLanes {
  __m256i words;

  explicit ScaleLanes(__m128i bytes) {
    if constexpr (F::kScaleStep == 32) {
      words = _mm256_cvtepi8_epi16(_mm_unpacklo_epi64(bytes, bytes));
    } else {
      const __m128i even_odd = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
      words = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, even_odd));
    }
  }
  template <int J>
  [[nodiscard]] __m256i lanes() const {
    return _mm256_shuffle_epi8(words, _mm256_set1_epi16(static_cast<short>(2 * J | (2 * J + 1) << 8)));
  }
};

}  // namespace
}  // namespace quantlinear::cpu
