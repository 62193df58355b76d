// AVX2 with the VEX-coded dot products (Alder Lake, Zen 5 and later).
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/avx_vnni_dot.hpp"
#include "cpu/kernels/x86/dot_tiles.hpp"
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
    // From this m on a panel pays: measured, docs/performance.md.
    constexpr std::size_t kGemmFrom = 5;
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F, Avx2F32Tile>();
    } else if constexpr (P == Precision::a8) {
      return integer_product<F, P, AvxVnniDot, DotByteTile<F, YmmRows>, kGemmFrom>();
    } else {
      return integer_product<F, P, AvxVnniDot, DotWordTile<F, YmmRows>, kGemmFrom>();
    }
  }

  template <Interleavable F>
    requires(!kSeveralFields<F>)
  static constexpr ProductKernel interleaved() {
    return interleaved_product<F, AvxVnniLanes, 4, AvxVnniDot, DotByteTile<F, YmmRows>, 5>();
  }
};

}  // namespace
}  // namespace quantlinear::cpu
