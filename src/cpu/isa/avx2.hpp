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
    } else if constexpr (F::kMaxU <= 128) {
      return integer_product<F, P, Avx2Dot, Avx2ByteTile<F>, kGemmFrom>();
    } else {
      // u up to 255: two products would not fit int16. In panels, the same integers through 16-bit multiplies.
      return integer_product<F, P, Avx2Dot, Avx2WordTile<F>, F::kFamily == Family::small_block ? kGemmFrom : 9>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F> && (F::kMaxU <= 128 || F::kFamily == Family::small_block))
  static constexpr ProductKernel interleaved() {
    if constexpr (F::kMaxU <= 128) {
      return interleaved_product<F, Avx2Lanes, 4, Avx2Dot, Avx2ByteTile<F>, 5>();
    } else {
      return interleaved_product<F, Avx2Lanes, 4, Avx2Dot, Avx2WordTile<F>, 5>();
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
