// The kernels of AVX-512 with VNNI; what a GEMM is made of is up to the instruction set.
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx512_dot.hpp"
#include "cpu/kernels/x86/avx512_f32.hpp"
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
  static constexpr PrepareRow prepare_row = prepare_row_avx2;

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
    constexpr UsedFrom kFrom = F::kFamily == Family::super_block
                                   ? UsedFrom{.lanes = 1, .gemm = 5}
                                   : UsedFrom{.lanes = 1, .gemm = F::kMaxU == 31 ? 33 : 65, .lane_columns = 8};
    return interleaved_product<F, Avx512Dot, typename GemmTile<F, Precision::a8>::Type, kFrom>();
  }

 private:
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block;
    if (kSuper && !Interleavable<F>) return {.lanes = 5, .gemm = 5};
    if (P == Precision::a16 && MultipliesPanels<typename GemmTile<F, P>::Type>) return {.lanes = 4, .gemm = 4};
    if (P == Precision::a16) {
      const std::size_t gemm = kSuper && !kSeveralFields<F> ? 2 : 3;
      return {.lanes = gemm, .gemm = gemm};
    }
    if (kSeveralFields<F>) return {.lanes = 5, .gemm = 5};
    if (kSuper) return {.lanes = F::kMaxU != 3 ? 3 : F::kHasMin ? 1 : 2, .gemm = F::kMaxU == 3 ? 5 : 3};
    if (F::kMaxU == 31 && F::kHasMin) return {.lanes = 4, .gemm = 9, .lane_columns = 8};  // Q5_1
    constexpr std::size_t kGemm = kWideBlocks<F> ? 5 : 3;
    return {.lanes = kGemm, .gemm = kGemm};
  }
};

}  // namespace
}  // namespace quantlinear::cpu
