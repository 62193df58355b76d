// Quantising activations to a8 on AVX-512; the same bits as kernels/prepare.hpp.
#pragma once

#include "cpu/kernels/x86/prepare.hpp"
#include "cpu/kernels/x86/zmm.hpp"

namespace quantlinear::cpu {
namespace {

/// Whole chunks of a8 (prepare_row_in_chunks).
class Avx512PrepareA8 {
 public:
  explicit Avx512PrepareA8(const ActivationSpec& spec) : small_(spec.block == 32), max_q_(spec.max_q) {}

  [[gnu::always_inline]] void take(const float* x, std::int8_t* values, A8Meta& meta) {
    const __m256 largest = small_ ? largest_of_32s(x) : largest_of_all(x);
    // block_scale of eight blocks
    const __m256 one = _mm256_set1_ps(1.0f);
    const __mmask8 tiny = _mm256_cmp_ps_mask(largest, _mm256_set1_ps(0x1p-100f), _CMP_LT_OQ);
    const __mmask8 some = _mm256_cmp_ps_mask(largest, _mm256_setzero_ps(), _CMP_NEQ_UQ);
    const __m256 max_q = _mm256_set1_ps(max_q_), pre = _mm256_mask_mov_ps(one, tiny, _mm256_set1_ps(0x1p64f));
    const __m256 up = _mm256_mul_ps(largest, pre), inverse = _mm256_maskz_div_ps(some, max_q, up);
    const __m256 scale = _mm256_div_ps(up, max_q);
    _mm256_storeu_ps(meta.scale, _mm256_mask_mul_ps(scale, tiny, scale, _mm256_set1_ps(0x1p-64f)));

    alignas(32) float pres[8], inverses[8];
    _mm256_store_ps(pres, pre);
    _mm256_store_ps(inverses, inverse);
    __m512i sums[4];  // of four values each
    unroll<4>([&]<int Q>() __attribute__((always_inline)) {
      const auto sixteen = [&]<int I>() __attribute__((always_inline)) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + 64 * Q + 16 * I), _mm512_set1_ps(pres[2 * Q + I / 2]));
        return _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverses[2 * Q + I / 2])));
      };
      const __m512i low = _mm512_packs_epi32(sixteen.template operator()<0>(), sixteen.template operator()<1>());
      const __m512i high = _mm512_packs_epi32(sixteen.template operator()<2>(), sixteen.template operator()<3>());
      const __m512i bytes = transpose4(_mm512_packs_epi16(low, high));
      _mm512_storeu_si512(values + 64 * Q, bytes);
      sums[Q] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes);
    });
    const __m512i in_lanes = wide_pairs(wide_pairs(sums[0], sums[1]), wide_pairs(sums[2], sums[3]));
    const __m256i sums16 = _mm512_cvtepi32_epi16(transpose4(in_lanes));
    store256(meta.sums16, sums16);
    const __m256i sums32 = _mm256_madd_epi16(sums16, _mm256_set1_epi16(1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(meta.sums32), _mm256_cvtepi32_epi16(sums32));
  }

  /// Whether everything taken so far was finite.
  [[nodiscard]] bool finite() const { return _mm512_cmpge_epu32_mask(most_, _mm512_set1_epi32(0x7f800000)) == 0; }

 private:
  /// Magnitudes compare as their bits do.
  [[gnu::always_inline]] static __m512i larger(const float* x) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    return _mm512_max_epu32(_mm512_and_si512(_mm512_loadu_si512(x), magnitude),
                            _mm512_and_si512(_mm512_loadu_si512(x + 16), magnitude));
  }
  [[gnu::always_inline]] __m256 largest_of_all(const float* x) {
    __m512i v[8];
    unroll<8>([&]<int B>() __attribute__((always_inline)) { v[B] = larger(x + 32 * B); });
    for (int n = 4; n > 0; n /= 2) {
      for (int i = 0; i < n; ++i) v[i] = _mm512_max_epu32(v[i], v[i + n]);
    }
    most_ = _mm512_max_epu32(most_, v[0]);
    const __m256i half = _mm256_max_epu32(_mm512_castsi512_si256(v[0]), _mm512_extracti64x4_epi64(v[0], 1));
    __m128i one = _mm_max_epu32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    one = _mm_max_epu32(one, _mm_shuffle_epi32(one, 0x4e));
    one = _mm_max_epu32(one, _mm_shuffle_epi32(one, 0xb1));
    return _mm256_castsi256_ps(_mm256_broadcastd_epi32(one));
  }
  [[gnu::always_inline]] __m256 largest_of_32s(const float* x) {
    __m512i two[4], four[2];
    unroll<4>([&]<int I>() __attribute__((always_inline)) {
      const __m512i a = larger(x + 64 * I), b = larger(x + 64 * I + 32);
      two[I] = _mm512_max_epu32(_mm512_shuffle_i64x2(a, b, 0x44), _mm512_shuffle_i64x2(a, b, 0xee));
    });
    for (int i = 0; i < 2; ++i) {
      const __m512i a = two[2 * i], b = two[2 * i + 1];
      four[i] = _mm512_max_epu32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
    }
    const __m512i qwords =
        _mm512_max_epu32(_mm512_unpacklo_epi64(four[0], four[1]), _mm512_unpackhi_epi64(four[0], four[1]));
    const __m512i all = _mm512_max_epu32(qwords, _mm512_shuffle_epi32(qwords, _MM_PERM_CDAB));
    most_ = _mm512_max_epu32(most_, all);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm256_castsi256_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi32(order, all)));
  }

  /// Dword 4i + j to 4j + i.
  [[gnu::always_inline]] static __m512i transpose4(__m512i v) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
  }

  bool small_;
  float max_q_;
  __m512i most_ = _mm512_setzero_si512();  ///< magnitudes, as bits
};

}  // namespace
}  // namespace quantlinear::cpu
