// AVX2 with the VEX-coded dot products (Alder Lake, Zen 5 and later).
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx2_f32.hpp"
#include "cpu/kernels/x86/avx2_prepare.hpp"
#include "cpu/kernels/x86/avx_vnni_dot.hpp"
#include "cpu/kernels/x86/dot_tiles.hpp"
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
    } else if constexpr (P == Precision::a8) {
      return integer_product<F, P, AvxVnniDot, DotByteTile<F, YmmRows>, used_from<F, P>()>();
    } else {
      return integer_product<F, P, AvxVnniDot, DotWordTile<F, YmmRows>, used_from<F, P>()>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F>)
  static constexpr ProductKernel interleaved() {
    constexpr std::size_t kGemmFrom = F::kFamily == Family::super_block ? 3 : 5;
    return interleaved_product<F, AvxVnniDot, DotByteTile<F, YmmRows>, UsedFrom{.lanes = 1, .gemm = kGemmFrom}>();
  }

 private:
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block;
    if (kSuper && !Interleavable<F>) return {.lanes = 5, .gemm = 5};
    if (kSeveralFields<F>) {
      const std::size_t gemm = P == Precision::a16 ? 4 : 5;
      return {.lanes = gemm, .gemm = gemm, .through_cache = F::kMaxU != 63};  // not Q6_K
    }
    if (P == Precision::a16) return {.lanes = 3, .gemm = 3};
    if (kSuper && F::kMaxU > 128) return {.lanes = 2, .gemm = 2};  // IQ4_XS
    if (kSuper) return {.lanes = 4, .gemm = 4};
    if (kWholeBytes<F> || !Interleavable<F>) return {.lanes = 3, .gemm = 3};
    return {.lanes = 3, .gemm = 5};
  }
};

}  // namespace
}  // namespace quantlinear::cpu
