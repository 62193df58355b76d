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
/// Bytes looked up for code that takes 128 off them by flipping the sign bit: compilers drop both flips.
struct SignedLookups : Avx2Vocabulary {
  static U8x32 lookup(U8x16 table, U8x32 index) {
    const U8x32 signed_table = _mm256_xor_si256(_mm256_broadcastsi128_si256(table), fill(128));
    return _mm256_xor_si256(_mm256_shuffle_epi8(signed_table, index), fill(128));
  }
};

/// f.template operator()<0>() ... <N-1>(): loops whose index must be a constant.
template <int N, class Function>
[[gnu::always_inline]] inline void unroll(Function&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>)
      __attribute__((always_inline)) { (f.template operator()<I>(), ...); }(std::make_integer_sequence<int, N>{});
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

/// a0+a1 a2+a3 b0+b1 b2+b3, in each 128-bit lane.
[[gnu::always_inline]] inline __m256i pairs(__m256i a, __m256i b) {
  const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
  return _mm256_add_epi32(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
                          _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
}

/// Sums of the low and of the high four lanes of eight vectors: lane i of the results is of v[i].
struct HalfSums {
  __m256i low, high;
};
/// From what `pairs` has made of v[0..3] and of v[4..7].
[[gnu::always_inline]] inline HalfSums half_sums(__m256i first, __m256i last) {
  return {_mm256_permute2x128_si256(first, last, 0x20), _mm256_permute2x128_si256(first, last, 0x31)};
}
[[gnu::always_inline]] inline HalfSums half_sums(const __m256i (&v)[8]) {
  return half_sums(pairs(pairs(v[0], v[1]), pairs(v[2], v[3])), pairs(pairs(v[4], v[5]), pairs(v[6], v[7])));
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

/// The canonical f32 sum of one vector.
[[gnu::always_inline]] inline float sum8(__m256 v) {
  const __m256 twos = _mm256_add_ps(_mm256_shuffle_ps(v, v, 0x88), _mm256_shuffle_ps(v, v, 0xdd));
  const __m256 fours = _mm256_add_ps(_mm256_shuffle_ps(twos, twos, 0x88), _mm256_shuffle_ps(twos, twos, 0xdd));
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
}

/// Eight rows of a matrix at equal distances, of which lanes [skip, skip + count) are wanted. The last rows of a matrix
/// come with some before them; of a matrix of less than eight rows each is taken by itself, eight times. Never reads
/// past the end.
struct Rows8 {
  const std::uint8_t* base;
  std::size_t stride, stride3, stride5, stride7;
  std::size_t skip, count;

  Rows8(const std::uint8_t* weights, std::size_t row_bytes, std::size_t first, std::size_t end)
      : stride(end < 8 ? 0 : row_bytes),
        skip(end < 8 || end - first >= 8 ? 0 : 8 - (end - first)),
        count(end < 8 ? 1 : 8 - skip) {
    base = weights + (first - skip) * row_bytes;
    stride3 = 3 * stride;
    stride5 = 5 * stride;
    stride7 = 7 * stride;
  }

  /// Row I at byte `at`. All eight addresses come from five registers, which compilers do not find by themselves.
  template <int I>
  [[nodiscard, gnu::always_inline]] const std::uint8_t* row(const std::uint8_t* p) const {
    constexpr bool kEven = I % 2 == 0;
    if constexpr (kEven) {
      return p + (I == 6 ? 2 * stride3 : I * stride);
    } else {
      return p + (I == 1 ? stride : I == 3 ? stride3 : I == 5 ? stride5 : stride7);
    }
  }
  [[nodiscard]] const std::uint8_t* row(std::size_t i, std::size_t at) const { return base + i * stride + at; }
};

/// Where the activations of chunk `chunk` and column `c0` start.
template <class Meta>
struct ChunkX {
  const std::int8_t* q;  // bytes; int16 values have twice as many
  const Meta* meta;
  const std::int8_t* magnitudes = nullptr;  // |q| of all columns one after the other, if a kernel wants them

  ChunkX(const Activations& x, std::size_t chunk, std::size_t c0)
      : q(static_cast<const std::int8_t*>(x.values) + (chunk * x.m + c0) * kColumnBytes),
        meta(static_cast<const Meta*>(x.meta) + chunk * x.m + c0) {}
  static constexpr std::size_t kColumnBytes = kChunk * (std::is_same_v<Meta, A16Meta> ? 2 : 1);
  [[nodiscard]] const std::int8_t* column(int c) const { return q + static_cast<std::size_t>(c) * kColumnBytes; }
};

/// pass<C>(c) for columns c .. c + C - 1 of m, `Most` at a time.
template <int Most, class Pass>
[[gnu::always_inline]] inline void in_passes(std::size_t m, const Pass& pass) {
  std::size_t c = 0;
  for (; c + Most <= m; c += Most) pass.template operator()<Most>(c);
  const std::size_t left = m - c;
  unroll<Most - 1>([&]<int I>() __attribute__((always_inline)) {
    if (left == std::size_t{I + 1}) pass.template operator()<I + 1>(c);
  });
}

/// half(f(block)) as f32 of the blocks block_of(0) ... block_of(7) of eight rows.
template <class BlockOf, class HalfOf>
[[gnu::always_inline]] inline __m256 halves8(const BlockOf& block_of, HalfOf half_of) {
  __m128i v = _mm_cvtsi32_si128(half_of(block_of(0)));
  unroll<7>([&]<int I>() { v = _mm_insert_epi16(v, half_of(block_of(I + 1)), I + 1); });
  return _mm256_cvtph_ps(v);
}

/// 2^(e - 128) of the bytes e that byte_of(0) ... byte_of(7) point at; the two smallest are subnormal.
template <class ByteOf>
[[gnu::always_inline]] inline __m256 powers8(const ByteOf& byte_of) {
  std::uint64_t bytes = 0;
  unroll<8>([&]<int I>() __attribute__((always_inline)) { bytes |= std::uint64_t{*byte_of(I)} << (8 * I); });
  const __m256i e = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes)));
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/// Scale of weights J*kScaleStep.. of one block of eight rows (super_block: d, with its factor).
template <class F, int J = 0, class BlockOf>
[[gnu::always_inline]] inline __m256 scales8(const BlockOf& block_of) {
  if constexpr (requires { F::kExponentAt; }) {
    return powers8([&](int i) { return block_of(i) + F::kExponentAt; });
  } else if constexpr (requires(const std::uint8_t* b) { F::scale(b, 0); }) {
    float s[8];
    for (int i = 0; i < 8; ++i) s[i] = F::scale(block_of(i), J);
    return _mm256_setr_ps(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
  } else {
    const __m256 d = halves8(block_of, [](const std::uint8_t* b) { return F::d_bits(b); });
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

/// Sub-scales of a super-block: lanes<J>() are those of weights 32J .. 32J+15 in the low and of 32J+16 .. 32J+31 in
/// the high half, as 16-bit words.
template <class F>
struct ScaleLanes {
  __m256i words;

  ScaleLanes() = default;
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

/// The same with one scale per 32 weights, each stored twice as a dword that is broadcast by its load. This spares the
/// shuffle, for the latency of a store and a load: worth it with several columns to fill the time.
struct StoredScaleLanes {
  alignas(16) std::int32_t twice[8];

  explicit StoredScaleLanes(__m128i bytes) {
    const __m128i words = _mm_cvtepi8_epi16(bytes);
    _mm_store_si128(reinterpret_cast<__m128i*>(twice), _mm_unpacklo_epi16(words, words));
    _mm_store_si128(reinterpret_cast<__m128i*>(twice + 4), _mm_unpackhi_epi16(words, words));
    asm volatile("" : "+m"(twice));
  }
  template <int J>
  [[nodiscard]] __m256i lanes() const {
    return broadcast32(twice + J);
  }
};
template <class F, int C>
using ScaleLanesFor = std::conditional_t<(C > 1 && F::kScaleStep == 32), StoredScaleLanes, ScaleLanes<F>>;

}  // namespace
}  // namespace quantlinear::cpu
