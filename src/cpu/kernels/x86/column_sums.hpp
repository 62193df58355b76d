// Sums of activations that kernels need as dwords, taken once for all rows.
#pragma once

#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// What sums of activations are multiplied by: offsets of weights are taken off; mins of small blocks are factors of
/// their own.
template <class F>
inline constexpr int kSumFactor = [] {
  static_assert(F::kOffset == 0 || !F::kHasMin);
  return F::kOffset != 0 ? -F::kOffset : F::kFamily == Family::small_block && F::kHasMin ? 1 : 0;
}();

/// Of every sub-block of C columns the sum of the activations times kSumFactor, as dwords to be broadcast: what an
/// offset of the weights adds to the products, taken off; or, where small blocks have mins, the sum itself.
template <class F, int C>
class ColumnSums {
 public:
  [[gnu::always_inline]] explicit ColumnSums(const ChunkX<A8Meta>& x) {
    if constexpr (kSumFactor<F> != 0) {
      for (int c = 0; c < C; ++c) {
        const std::int16_t* sums = F::kScaleStep == 32 ? x.meta[c].sums32 : x.meta[c].sums16;
        for (int j = 0; j < kSubBlocks; j += 8) {
          const __m256i eight = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + j)));
          store256(at_[c] + j,
                   kSumFactor<F> == 1 ? eight : _mm256_mullo_epi32(eight, _mm256_set1_epi32(kSumFactor<F>)));
        }
      }
    }
  }
  /// p[c] = what the products of sub-block j begin with, so that they end as those of weights without an offset.
  template <class R>
  [[gnu::always_inline]] void begin(int j, typename R::Int (&p)[C]) const {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) p[c] = F::kOffset == 0 ? R::zero() : R::fill(at_[c][j]);
  }
  [[nodiscard]] std::int32_t at(int j, int c) const { return at_[c][j]; }

 private:
  static constexpr int kSubBlocks = kChunk / F::kScaleStep;
  alignas(32) std::int32_t at_[C][kSubBlocks];
};

/// The same, worked out by the integer units each time.
template <class F, class Meta>
class SumsOnDemand {
 public:
  explicit SumsOnDemand(const ChunkX<Meta>& x) : meta_(x.meta) {}
  [[nodiscard]] std::int32_t at(int j, int c) const {
    return kSumFactor<F> * (F::kScaleStep == 32 ? meta_[c].sums32[j] : meta_[c].sums16[j]);
  }

 private:
  const Meta* meta_;
};

}  // namespace
}  // namespace quantlinear::cpu
