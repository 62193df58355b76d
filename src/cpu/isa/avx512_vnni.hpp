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
    // From this m on a panel pays: measured, docs/performance.md.
    constexpr std::size_t kGemmFrom = 5;
    if constexpr (F::kFamily == Family::float_weight || P == Precision::f32) {
      return f32_product<F, Avx512F32Tile>();
    } else if constexpr (P == Precision::a8) {
      return integer_product<F, P, Avx512Dot, DotByteTile<F, ZmmRows>, kGemmFrom>();
    } else {
      return integer_product<F, P, Avx512Dot, DotWordTile<F, ZmmRows>, kGemmFrom>();
    }
  }

  template <Interleavable F>
  static constexpr ProductKernel interleaved() {
    // Columns of a pass and the m from which a panel pays: measured, docs/performance.md.
    constexpr int kColumns = F::kFamily == Family::super_block ? 4 : 8;
    return interleaved_product<F, Avx512Lanes, kColumns, Avx512Dot, DotByteTile<F, ZmmRows>, 17>();
  }
};

}  // namespace
}  // namespace quantlinear::cpu
