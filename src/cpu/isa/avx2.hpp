// AVX2 with FMA and F16C (Haswell, Zen and later).
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx2_dot.hpp"
#include "cpu/kernels/x86/avx2_tiles.hpp"
#include "cpu/kernels/x86/f32.hpp"
#include "cpu/kernels/x86/products.hpp"

namespace quantlinear::cpu {
namespace {

struct Isa {
  static constexpr PrepareRow prepare_row = prepare_row_avx2;

  template <class F>
  static constexpr auto dequantize = dequantize_blocks<F>;

  template <class F, Precision P>
  static constexpr ProductKernel product() {
    // A panel pays from this m on: measured, docs/performance.md.
    constexpr std::size_t kGemmFrom = 5;
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F, Avx2F32Tile>();
    } else if constexpr (P == Precision::a16) {
      return integer_product<F, P, Avx2Dot, Avx2WordTile<F>, kGemmFrom>();
    } else {
      constexpr bool kSlowPanel = F::kMaxU > 128 && F::kFamily == Family::super_block;
      return integer_product<F, P, Avx2Dot, ByteOrWordTile<F>, kSlowPanel ? 9 : kGemmFrom>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F> && (F::kMaxU <= 128 || F::kFamily == Family::small_block))
  static constexpr ProductKernel interleaved() {
    return interleaved_product<F, Avx2Lanes, 4, Avx2Dot, ByteOrWordTile<F>, 5>();
  }

 private:
  /// Two products of bytes beyond 128 would not fit int16: their panels hold the same integers in 16 bits.
  template <class F>
  using ByteOrWordTile = std::conditional_t<F::kMaxU <= 128, Avx2ByteTile<F>, Avx2WordTile<F>>;
};

}  // namespace
}  // namespace quantlinear::cpu
