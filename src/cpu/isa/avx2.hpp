// AVX2 with FMA and F16C (Haswell, Zen and later).
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx2_dot.hpp"
#include "cpu/kernels/x86/avx2_f32.hpp"
#include "cpu/kernels/x86/avx2_prepare.hpp"
#include "cpu/kernels/x86/avx2_tiles.hpp"
#include "cpu/kernels/x86/products.hpp"

namespace quantlinear::cpu {
namespace {

struct Isa {
  static constexpr PrepareRow prepare_row = prepare_row_in_chunks<Avx2PrepareA8>;

  template <class F>
  static constexpr auto dequantize = dequantize_blocks<F>;

  template <class F, Precision P>
  static constexpr ProductKernel product() {
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F, Avx2F32Tile>();
    } else if constexpr (P == Precision::a16) {
      return integer_product<F, P, Avx2Dot, Avx2WordTile<F>, used_from<F, P>()>();
    } else {
      return integer_product<F, P, Avx2Dot, A8Tile<F>, used_from<F, P>()>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F>)
  static constexpr ProductKernel interleaved() {
    constexpr std::size_t kGemm = [] {
      using enum GgufQuantType;
      switch (F::kType) {
        case Q5_0:
          return 6;
        case Q5_1:
        case TQ2_0:
          return 9;
        case Q4_1:
          return 10;
        case Q2_K:
          return 11;
        case IQ4_NL:
        case IQ4_XS:
          return 12;
        case Q4_0:
          return 13;
        case Q4_K:
          return 16;
        case Q8_0:
          return 25;
        default:
          return 9;
      }
    }();
    return interleaved_product<F, Avx2Dot, A8Tile<F>, lanes_from(1, kGemm)>();
  }

 private:
  /// No more columns a pass than there are below `gemm`: each number of them is a function of its own.
  static constexpr UsedFrom lanes_from(std::size_t m, std::size_t gemm) {
    return {.lanes = m, .gemm = gemm, .lane_columns = gemm <= 8 ? gemm - 1 : 8};
  }
  /// Measured on Zen 3, weights beyond the last-level cache (docs/performance-log.md).
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block, kByRows = kSuper && !Interleavable<F>;
    using enum GgufQuantType;
    const auto gemm_from = [](std::size_t m) {
      return UsedFrom{.lanes = m, .gemm = m, .through_cache = F::kType != Q5_K && F::kType != Q6_K};
    };
    if (P == Precision::a16) return gemm_from(kByRows || kSeveralFields<F> || F::kType == Q2_K ? 5 : 3);
    switch (F::kType) {
      case Q4_K:
      case IQ4_XS:
        return lanes_from(4, 12);
      case Q8_0:
        return lanes_from(4, 9);
      case Q5_1:
      case TQ2_0:
        return lanes_from(3, 9);
      case Q4_0:
      case Q4_1:
      case Q2_K:
      case IQ4_NL:
        return lanes_from(2, 9);
      case TQ1_0:
      case Q6_K:
        return gemm_from(6);
      case Q5_K:
        return gemm_from(9);
      case Q3_K:
        return gemm_from(6);
      case Q5_0:
        return lanes_from(3, 5);
      case MXFP4:
        return gemm_from(4);
      case IQ1_S:
        return gemm_from(8);
      case IQ2_XXS:
        return gemm_from(13);
      case IQ2_XS:
        return gemm_from(25);
      default:
        return gemm_from(Avx2Dot::kAhead<F, A8Meta> ? 9 : kSuper ? 5 : 3);  // code books: 9
    }
  }

  /// Two products of bytes beyond 128 do not fit int16: those weights, and the values they meet, become words.
  template <class F>
  using A8Tile = std::conditional_t<F::kMaxU <= 128, Avx2ByteTile<F>, Avx2WordTile<F>>;
};

}  // namespace
}  // namespace quantlinear::cpu
