// Quantising activations on AVX2; the same bits as kernels/prepare.hpp.
#pragma once

#include "cpu/kernels/prepare.hpp"
#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// 32 values to rounded integers, in order.
[[gnu::always_inline]] inline void round32(const float* x, __m256 pre, __m256 inverse, __m256i (&q)[4]) {
  for (int i = 0; i < 4; ++i) {
    q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), pre), inverse));
  }
}

/// 32 integers as bytes.
[[gnu::always_inline]] inline __m256i bytes_of(const __m256i (&q)[4]) {
  const __m256i a = _mm256_packs_epi32(q[0], q[1]), b = _mm256_packs_epi32(q[2], q[3]);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
/// Stores 32 integers and adds up their two 16s.
[[gnu::always_inline]] inline void store32(const __m256i (&q)[4], std::int8_t* out, std::int32_t (&sums)[2]) {
  store256(out, bytes_of(q));
  const __m256i a = _mm256_packs_epi32(q[0], q[1]), b = _mm256_packs_epi32(q[2], q[3]);
  const __m256i one = _mm256_set1_epi16(1);
  const __m256i sa = _mm256_madd_epi16(a, one), sb = _mm256_madd_epi16(b, one);  // eight partial sums each
  const __m256i h = _mm256_hadd_epi32(sa, sb);
  const __m128i t = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  const __m128i s = _mm_hadd_epi32(t, t);
  sums[0] = _mm_cvtsi128_si32(s);
  sums[1] = _mm_extract_epi32(s, 1);
}
/// The sums of both 16 of 32 integers.
[[gnu::always_inline]] inline void sums_of_16(const __m256i (&q)[4], std::int32_t (&sums)[2]) {
  const __m256i h = _mm256_hadd_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
  const __m128i t = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  const __m128i s = _mm_hadd_epi32(t, t);
  sums[0] = _mm_cvtsi128_si32(s);
  sums[1] = _mm_extract_epi32(s, 1);
}
[[gnu::always_inline]] inline void store32(const __m256i (&q)[4], std::int16_t* out, std::int32_t (&sums)[2]) {
  // packs works on 128-bit halves; the a16 order is 0..7, 16..23 | 8..15, 24..31.
  const __m256i a = _mm256_permute4x64_epi64(_mm256_packs_epi32(q[0], q[1]), 0xd8);  // 0..15
  const __m256i b = _mm256_permute4x64_epi64(_mm256_packs_epi32(q[2], q[3]), 0xd8);  // 16..31
  store256(out, _mm256_permute2x128_si256(a, b, 0x20));
  store256(out + 16, _mm256_permute2x128_si256(a, b, 0x31));
  sums_of_16(q, sums);
}
/// As planes: low bytes, and high bytes kChunk further.
[[gnu::always_inline]] inline void store32_planes(const __m256i (&q)[4], std::uint8_t* out, std::int32_t (&sums)[2]) {
  const __m256i a = _mm256_packs_epi32(q[0], q[1]), b = _mm256_packs_epi32(q[2], q[3]);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), low = _mm256_set1_epi16(0xff);
  const __m256i lows = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  const __m256i highs = _mm256_packs_epi16(_mm256_srai_epi16(a, 8), _mm256_srai_epi16(b, 8));
  store256(out, _mm256_permutevar8x32_epi32(lows, order));
  store256(out + kChunk, _mm256_permutevar8x32_epi32(highs, order));
  sums_of_16(q, sums);
}

[[gnu::always_inline]] inline float largest_of(const float* x, std::size_t count) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 most = _mm256_setzero_ps();
  for (std::size_t i = 0; i < count; i += 8) {
    most = _mm256_max_ps(most, _mm256_and_ps(_mm256_loadu_ps(x + i), magnitude));
  }
  __m128 v = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  v = _mm_max_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}

[[gnu::always_inline]] inline bool all_finite_avx2(const float* x, std::size_t count) {
  const __m256i exponent = _mm256_set1_epi32(0x7f800000);
  __m256i bad = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i bits = _mm256_and_si256(load256(x + i), exponent);
    bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(bits, exponent));
  }
  return _mm256_testz_si256(bad, bad) != 0 && all_finite(x + i, count - i);
}

/// As fill_pairs.
[[gnu::always_inline]] inline void fill_pairs_avx2(const ActivationSpec& spec, const std::int8_t* values,
                                                   A8PairMeta& meta) {
  const __m256i factor = _mm256_set1_epi16(static_cast<short>(-spec.offset)), one = _mm256_set1_epi8(1);
  std::int32_t pairs[16] = {};  // of two int16
  for (std::size_t g = 0; g < 8; ++g) {
    // Of each 16 values, in every dword.
    __m256i sums = _mm256_maddubs_epi16(one, load256(values + 32 * g));
    sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0x4e));
    sums = _mm256_mullo_epi16(_mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0xb1)), factor);
    const __m128i low = _mm256_castsi256_si128(sums), high = _mm256_extracti128_si256(sums, 1);
    if (spec.pair_step == 16) {
      pairs[2 * g] = _mm_cvtsi128_si32(low);
      pairs[2 * g + 1] = _mm_cvtsi128_si32(high);
    } else {
      pairs[g] = _mm_cvtsi128_si32(_mm_add_epi16(low, high));
    }
  }
  static_assert(sizeof meta.pairs == sizeof pairs);
  std::memcpy(meta.pairs, pairs, sizeof pairs);
}

/// As quantise_chunk; `count` is a multiple of 32 (block formats have whole blocks).
template <class Value, class Meta>
[[gnu::always_inline]] inline void quantise_chunk_avx2(const ActivationSpec& spec, const float* x, std::size_t count,
                                                       Value* values, Meta& meta) {
  std::int32_t sums[8][2] = {};
  std::size_t g = 0;
  float scales[8] = {};
  for (; 32 * g < count;) {
    const std::size_t groups = spec.block / 32;  // 1 or 8
    const std::size_t end = g + groups < count / 32 ? g + groups : count / 32;
    const BlockScale s = block_scale(largest_of(x + 32 * g, 32 * (end - g)), spec.max_q);
    for (std::size_t j = g; j < g + groups; ++j) scales[j] = s.scale;
    const __m256 pre = _mm256_set1_ps(s.pre), inverse = _mm256_set1_ps(s.inverse);
    for (; g < end; ++g) {
      __m256i q[4];
      round32(x + 32 * g, pre, inverse, q);
      if (sizeof(Value) == 2 && spec.planes) {
        store32_planes(q, reinterpret_cast<std::uint8_t*>(values) + 32 * g, sums[g]);
      } else {
        store32(q, values + 32 * g, sums[g]);
      }
    }
  }
  if (sizeof(Value) == 2 && spec.planes) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(values) + 32 * g;
    std::memset(bytes, 0, kChunk - 32 * g);
    std::memset(bytes + kChunk, 0, kChunk - 32 * g);
  } else {
    std::memset(values + 32 * g, 0, (kChunk - 32 * g) * sizeof(Value));
  }
  std::memcpy(meta.scale, scales, sizeof scales);
  std::int32_t flat[16];
  std::memcpy(flat, sums, sizeof flat);
  fill_sums(flat, meta);
}

/// As prepare_row_scalar.
[[gnu::always_inline]] inline bool prepare_row_by_groups(const ActivationSpec& spec, const float* x,
                                                         std::size_t in_features, std::size_t row, std::size_t m,
                                                         void* values, void* meta) {
  if (!all_finite_avx2(x, in_features)) {
    clear_row(spec, in_features, row, m, values, meta);
    return false;
  }
  if (spec.precision == Precision::f32) {
    copy_row(spec, x, in_features, row, m, values);
    return true;
  }
  for (std::size_t chunk = 0; chunk * kChunk < in_features; ++chunk) {
    const std::size_t left = in_features - chunk * kChunk, at = chunk * m + row;
    const std::size_t count = left < kChunk ? left : kChunk;
    if (spec.precision == Precision::a8) {
      auto* q = static_cast<std::int8_t*>(values) + at * kChunk;
      if (spec.pair_step == 0) {
        quantise_chunk_avx2(spec, x + chunk * kChunk, count, q, static_cast<A8Meta*>(meta)[at]);
      } else {
        quantise_chunk_avx2(spec, x + chunk * kChunk, count, q, static_cast<A8PairMeta*>(meta)[at]);
        fill_pairs_avx2(spec, q, static_cast<A8PairMeta*>(meta)[at]);
      }
    } else {
      quantise_chunk_avx2(spec, x + chunk * kChunk, count, static_cast<std::int16_t*>(values) + at * kChunk,
                          static_cast<A16Meta*>(meta)[at]);
    }
  }
  return true;
}

/// The same; whole chunks of a8 in one pass over the row by Whole, which offers
///   explicit Whole(const ActivationSpec&)
///   take(x, values, meta)   a chunk of 256
///   finite()                whether everything taken so far was
template <class Whole>
bool prepare_row_in_chunks(const ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                           std::size_t m, void* values, void* meta) {
  if (spec.precision != Precision::a8 || spec.pair_step != 0) {
    return prepare_row_by_groups(spec, x, in_features, row, m, values, meta);
  }
  auto* q = static_cast<std::int8_t*>(values) + row * kChunk;
  auto* of_chunk = static_cast<A8Meta*>(meta) + row;
  const std::size_t whole = in_features / kChunk, rest = in_features % kChunk;
  Whole chunks(spec);
  for (std::size_t i = 0; i < whole; ++i) chunks.take(x + i * kChunk, q + i * m * kChunk, of_chunk[i * m]);
  const float* tail = x + whole * kChunk;
  if (!chunks.finite() || !all_finite_avx2(tail, rest)) {
    clear_row(spec, in_features, row, m, values, meta);
    return false;
  }
  if (rest != 0) quantise_chunk_avx2(spec, tail, rest, q + whole * m * kChunk, of_chunk[whole * m]);
  return true;
}

}  // namespace
}  // namespace quantlinear::cpu
