// AVX-512 with VNNI (Ice Lake, Zen 4 and later).
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx512_dot.hpp"
#include "cpu/kernels/x86/avx512_f32.hpp"
#include "cpu/kernels/x86/dot_tiles.hpp"
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
      return f32_product<F, Avx512F32Tile>();
    } else if constexpr (P == Precision::a8) {
      return integer_product<F, P, Avx512Dot, DotByteTile<F, ZmmRows>, used_from<F, P>()>();
    } else {
      return integer_product<F, P, Avx512Dot, DotWordTile<F, ZmmRows>, used_from<F, P>()>();
    }
  }

  template <Interleavable F>
  static constexpr ProductKernel interleaved() {
    constexpr UsedFrom kFrom = F::kFamily == Family::super_block
                                   ? UsedFrom{.lanes = 1, .gemm = 5}
                                   : UsedFrom{.lanes = 1, .gemm = F::kMaxU == 31 ? 33 : 65, .lane_columns = 8};
    return interleaved_product<F, Avx512Dot, DotByteTile<F, ZmmRows>, kFrom>();
  }

 private:
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block;
    if (kSuper && !Interleavable<F>) return {.lanes = 5, .gemm = 5};
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
