// NEON with the four-byte dot product (Neoverse N1, Cortex-A55/A75, Apple A11 and later).
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
      return integer_product<F, SdotTile, Precision::a8>();
    } else {
      return integer_product<F, SdotTile, Precision::a16>();
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
