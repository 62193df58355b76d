// Quantising activations to a8 on AVX2; the same bits as kernels/prepare.hpp.
#pragma once

#include "cpu/kernels/x86/prepare.hpp"

namespace quantlinear::cpu {
namespace {

/// Whole chunks of a8 (prepare_row_in_chunks).
class Avx2PrepareA8 {
 public:
  explicit Avx2PrepareA8(const ActivationSpec& spec) : small_(spec.block == 32), max_q_(spec.max_q) {}

  [[gnu::always_inline]] void take(const float* x, std::int8_t* values, A8Meta& meta) {
    const __m256 largest = largest_of_blocks(x);
    // block_scale of eight blocks
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 tiny = _mm256_cmp_ps(largest, _mm256_set1_ps(0x1p-100f), _CMP_LT_OQ);
    const __m256 some = _mm256_cmp_ps(largest, _mm256_setzero_ps(), _CMP_NEQ_UQ);
    const __m256 max_q = _mm256_set1_ps(max_q_), pre = _mm256_blendv_ps(one, _mm256_set1_ps(0x1p64f), tiny);
    const __m256 up = _mm256_mul_ps(largest, pre), inverse = _mm256_and_ps(_mm256_div_ps(max_q, up), some);
    const __m256 post = _mm256_blendv_ps(one, _mm256_set1_ps(0x1p-64f), tiny);
    _mm256_storeu_ps(meta.scale, _mm256_mul_ps(_mm256_div_ps(up, max_q), post));

    alignas(32) float pres[8], inverses[8];
    _mm256_store_ps(pres, pre);
    _mm256_store_ps(inverses, inverse);
    unroll<8>([&]<int J>() __attribute__((always_inline)) {
      __m256i q[4];
      round32(x + 32 * J, _mm256_broadcast_ss(pres + J), _mm256_broadcast_ss(inverses + J), q);
      store256(values + 32 * J, bytes_of(q));
    });
    store_sums(values, meta);
  }

  /// Whether everything taken so far was finite.
  [[nodiscard]] bool finite() const {
    const __m256i beyond = _mm256_cmpgt_epi32(most_, _mm256_set1_epi32(0x7f7fffff));
    return _mm256_testz_si256(beyond, beyond) != 0;
  }

 private:
  static __m256i larger(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }

  /// The largest magnitude of each block, of 32 or of all. Magnitudes compare as their bits do.
  [[gnu::always_inline]] __m256 largest_of_blocks(const float* x) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i v[8];  // of each 32
    unroll<8>([&]<int J>() __attribute__((always_inline)) {
      const auto eight = [&](int i) { return _mm256_and_si256(load256(x + 32 * J + 8 * i), magnitude); };
      v[J] = larger(larger(eight(0), eight(1)), larger(eight(2), eight(3)));
    });
    __m256i all;
    if (small_) {
      const auto twos = [](__m256i a, __m256i b) {
        return larger(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
      };
      const auto fours = [](__m256i a, __m256i b) {
        return larger(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
      };
      const __m256i low = fours(twos(v[0], v[1]), twos(v[2], v[3])), high = fours(twos(v[4], v[5]), twos(v[6], v[7]));
      all = larger(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
    } else {
      for (int n = 4; n > 0; n /= 2) {
        for (int i = 0; i < n; ++i) v[i] = larger(v[i], v[i + n]);
      }
      __m128i most = _mm_max_epi32(_mm256_castsi256_si128(v[0]), _mm256_extracti128_si256(v[0], 1));
      most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
      all = _mm256_broadcastd_epi32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1)));
    }
    most_ = larger(most_, all);
    return _mm256_castsi256_ps(all);
  }

  /// The sums of a chunk: bytes, made unsigned, are added up by eights.
  [[gnu::always_inline]] static void store_sums(const std::int8_t* values, A8Meta& meta) {
    const __m256i flip = _mm256_set1_epi8(-128), one = _mm256_set1_epi16(1);
    const auto eights = [&](int j) {
      return _mm256_sad_epu8(_mm256_xor_si256(load256(values + 32 * j), flip), _mm256_setzero_si256());
    };
    // Of each four groups the sums of the first 16, in the low half, and of the second.
    const auto of_four = [&](int j) __attribute__((always_inline)) {
      const __m256i a = _mm256_packs_epi32(eights(j), eights(j + 1)),
                    b = _mm256_packs_epi32(eights(j + 2), eights(j + 3));
      return _mm256_madd_epi16(_mm256_packs_epi32(a, b), one);
    };
    const __m256i sums = _mm256_sub_epi16(_mm256_packs_epi32(of_four(0), of_four(4)), _mm256_set1_epi16(16 * 128));
    const __m128i first = _mm256_castsi256_si128(sums), second = _mm256_extracti128_si256(sums, 1);
    const auto store = [](std::int16_t* to, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), v); };
    store(meta.sums16, _mm_unpacklo_epi16(first, second));
    store(meta.sums16 + 8, _mm_unpackhi_epi16(first, second));
    store(meta.sums32, _mm_add_epi16(first, second));
  }

  bool small_;
  float max_q_;
  __m256i most_ = _mm256_setzero_si256();  ///< magnitudes, as bits
};

}  // namespace
}  // namespace quantlinear::cpu
