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
      return integer_product<F, P, Avx2Dot, ByteOrWordTile<F>, used_from<F, P>()>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F>)
  static constexpr ProductKernel interleaved() {
    constexpr std::size_t kGemmFrom = F::kFamily == Family::super_block && F::kMaxU <= 128 ? 4 : 5;
    return interleaved_product<F, Avx2Dot, ByteOrWordTile<F>, UsedFrom{.lanes = 1, .gemm = kGemmFrom}>();
  }

 private:
  template <class F, Precision P>
  static constexpr UsedFrom used_from() {
    constexpr bool kSuper = F::kFamily == Family::super_block;
    if (kSuper && !Interleavable<F>) return {.lanes = 5, .gemm = 5};
    if (kSeveralFields<F>) return {.lanes = 4, .gemm = 4, .through_cache = F::kMaxU != 63};  // not Q6_K
    if (P == Precision::a16) return {.lanes = 3, .gemm = 3};
    if (kSuper) {
      if (F::kMaxU > 128) return {.lanes = 5, .gemm = 5};  // IQ4_XS
      return {.lanes = F::kMaxU == 3 ? 2 : 3, .gemm = F::kMaxU == 3 ? 4 : 3};
    }
    if (kWholeBytes<F> || !Interleavable<F>) return {.lanes = 4, .gemm = 4};
    return {.lanes = 3, .gemm = 5};
  }

  /// Two products of bytes beyond 128 would not fit int16: their panels hold the same integers in 16 bits.
  template <class F>
  using ByteOrWordTile = std::conditional_t<F::kMaxU <= 128, Avx2ByteTile<F>, Avx2WordTile<F>>;
};

}  // namespace
}  // namespace quantlinear::cpu
