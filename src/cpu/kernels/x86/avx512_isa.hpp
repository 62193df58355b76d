// The kernels of AVX-512 with VNNI; what a GEMM is made of is up to the instruction set.
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx512_dot.hpp"
#include "cpu/kernels/x86/avx512_f32.hpp"
#include "cpu/kernels/x86/avx512_prepare.hpp"
#include "cpu/kernels/x86/dot_tiles.hpp"
#include "cpu/kernels/x86/products.hpp"

namespace quantlinear::cpu {
namespace {

template <class F, Precision P>
struct Avx512Tile {
  using Type = std::conditional_t<P == Precision::a8, DotByteTile<F, ZmmRows>, DotWordTile<F, ZmmRows>>;
};

/// GemmTile<F, P>::Type: the tile of format F in integer precision P.
template <template <class F, Precision P> class GemmTile>
struct Avx512Isa {
  static constexpr PrepareRow prepare_row = prepare_row_in_chunks<Avx512PrepareA8>;

  template <class F>
  static constexpr auto dequantize = dequantize_blocks<F>;

  template <class F, Precision P>
  static constexpr ProductKernel product() {
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F, Avx512F32Tile>();
    } else {
      return integer_product<F, P, Avx512Dot, typename GemmTile<F, P>::Type, used_from<F, P>()>();
    }
  }

  template <Interleavable F>
  static constexpr ProductKernel interleaved() {
    constexpr std::size_t kGemm = [] {
      using enum GgufQuantType;
      switch (F::kType) {
        case Q3_K:
          return 18;
        case Q6_K:
          return 19;
        case Q2_K:
        case IQ4_XS:
          return 25;
        case Q4_K:
        case Q5_K:
        case TQ2_0:
        case Q5_0:
        case Q5_1:
          return 33;
        default:
          return 65;
      }
    }();
    return interleaved_product<F, Avx512Dot, typename GemmTile<F, Precision::a8>::Type, lanes_from<F>(1, kGemm)>();
  }

 private:
  template <class F>
  static constexpr UsedFrom lanes_from(std::size_t m, std::size_t gemm) {
    using Tile = typename GemmTile<F, Precision::a8>::Type;
    if constexpr (requires { Tile::kLanesEnd; }) gemm = gemm < Tile::kLanesEnd ? gemm : Tile::kLanesEnd;
    return {.lanes = m, .gemm = gemm, .lane_columns = 8};
  }
  /// Measured on Zen 4, weights beyond the last-level cache (docs/performance-log.md).
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block;
    using enum GgufQuantType;
    const auto gemm_from = [](std::size_t m) { return UsedFrom{.lanes = m, .gemm = m}; };
    if (kSuper && !Interleavable<F>) return gemm_from(5);
    if (P == Precision::a16) {
      if (MultipliesPanels<typename GemmTile<F, P>::Type>) return gemm_from(4);
      return gemm_from(!kSuper ? 3 : F::kMaxU == 3 ? 2 : 5);
    }
    switch (F::kType) {
      case Q2_K:
        return lanes_from<F>(1, 21);
      case Q3_K:
        return lanes_from<F>(1, 17);
      case TQ2_0:
        return lanes_from<F>(1, 33);
      case Q4_K:
        return lanes_from<F>(3, 21);
      case IQ4_XS:
        return lanes_from<F>(2, 17);
      case Q5_K:
        return lanes_from<F>(3, 21);
      case Q6_K:
        return lanes_from<F>(4, 9);
      case Q4_0:
        return lanes_from<F>(3, 11);
      case IQ4_NL:
        return lanes_from<F>(2, 13);
      case Q4_1:
        return lanes_from<F>(3, 10);
      case Q5_0:
        return lanes_from<F>(5, 9);
      case Q5_1:
        return lanes_from<F>(3, 9);
      case Q8_0:
        return lanes_from<F>(3, 9);
      default:
        return gemm_from(kWideBlocks<F> ? 5 : 3);
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
