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
      return f32_product<F>(activation_spec<F, P>());
    } else if constexpr (P == Precision::a8) {
      return integer_product<F, SdotTile, A8Meta>(activation_spec<F, P>());
    } else {
      return integer_product<F, SdotTile, A16Meta>(activation_spec<F, P>());
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
