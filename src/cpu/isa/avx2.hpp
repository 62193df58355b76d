// AVX2 with FMA and F16C (Haswell, Zen and later).
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx2_dot.hpp"
#include "cpu/kernels/x86/avx2_f32.hpp"
#include "cpu/kernels/x86/avx2_tiles.hpp"
#include "cpu/kernels/x86/products.hpp"

namespace quantlinear::cpu {
namespace {

struct Isa {
  static constexpr PrepareRow prepare_row = prepare_row_avx2;

  template <class F>
  static constexpr auto dequantize = dequantize_blocks<F>;

  template <class F, Precision P>
  static constexpr ProductKernel product() {
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F, Avx2F32Tile>();
    } else if constexpr (P == Precision::a16) {
      return integer_product<F, P, Avx2Dot, Avx2WordTile<F>, used_from<F, P>()>();
    } else {
      return integer_product<F, P, Avx2Dot, ByteTile<F>, used_from<F, P>()>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F>)
  static constexpr ProductKernel interleaved() {
    constexpr UsedFrom kFrom = F::kFamily == Family::super_block
                                   ? UsedFrom{.lanes = 1, .gemm = F::kMaxU > 128 ? 4 : 5}
                                   : UsedFrom{.lanes = 1, .gemm = kWholeBytes<F> ? 25 : 9, .lane_columns = 8};
    return interleaved_product<F, Avx2Dot, ByteTile<F>, kFrom>();
  }

 private:
  /// Measured on Zen 3, weights beyond the last-level cache (docs/performance.md).
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block, kA8 = P == Precision::a8;
    constexpr bool kThroughCache = F::kMaxU != 31 && F::kMaxU != 63;  // Q5_K, Q6_K
    const auto gemm_from = [=](std::size_t m) {
      return UsedFrom{.lanes = m, .gemm = m, .through_cache = kThroughCache};
    };
    if (kA8 && Avx2Dot::kAhead<F, A8Meta>) return gemm_from(9);  // code books
    if (kSuper && !Interleavable<F>) return gemm_from(5);
    if (!kA8) return gemm_from(kSeveralFields<F> ? 4 : 3);
    if (kSuper && (F::kMaxU == 3 || F::kMaxU > 128)) return gemm_from(4);       // Q2_K, IQ4_XS
    if (kSuper) return gemm_from(F::kMaxU == 15 ? 8 : F::kMaxU == 31 ? 9 : 6);  // Q4_K, Q5_K
    if (!Interleavable<F>) return gemm_from(3);
    if (F::kMaxU == 31 && !F::kHasMin) return gemm_from(5);  // Q5_0
    constexpr bool kBytes = kWholeBytes<F>;
    return {.lanes = F::kHasMin ? 3 : kBytes ? 5 : 4, .gemm = F::kHasMin || kBytes ? 9 : 8, .lane_columns = 8};
  }

  template <class F>
  using ByteTile = std::conditional_t<F::kMaxU <= 128, Avx2ByteTile<F>, Avx2SignedByteTile<F>>;
};

}  // namespace
}  // namespace quantlinear::cpu
