// NEON with the 2 x 8 x 2 byte matrix product (Neoverse V1 and N2, Cortex-A510/A710, Apple M2 and later). It doubles
// the products per instruction in the GEMM; the GEMV has no pairs of columns to feed it and stays with sdot.
#pragma once

#include "cpu/kernels/arm/f32.hpp"
#include "cpu/kernels/arm/gemm.hpp"
#include "cpu/kernels/arm/prepare.hpp"
#include "cpu/kernels/specs.hpp"

namespace quantlinear::cpu {
namespace {

struct Isa {
  static constexpr PrepareRow prepare_row = prepare_row_neon;

  template <class F>
  static constexpr auto dequantize = dequantize_blocks<F>;

  template <class F, Precision P>
  static constexpr ProductKernel product() {
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F>();
    } else if constexpr (P == Precision::a8) {
      return integer_product<F, SmmlaTile, Precision::a8>();
    } else {
      return integer_product<F, SmmlaTile, Precision::a16>();
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
