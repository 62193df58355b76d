// A product kernel of the integer precisions: GEMV below a certain m, GEMM from there on.
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/gemm.hpp"
#include "cpu/kernels/x86/panel_interleaved.hpp"
#include "cpu/kernels/x86/prepare.hpp"

namespace quantlinear::cpu {
namespace {

/// GemmFrom: the m from which unpacking a panel pays.
/// P: the integers to compute with. Tiles of words take the same integers in 16-bit form.
template <class F, Precision P, class Dot, class Tile, std::size_t GemmFrom>
constexpr ProductKernel integer_product() {
  using GemvMeta = std::conditional_t<P == Precision::a8, A8Meta, A16Meta>;
  return {[](std::size_t m) {
            ActivationSpec spec = activation_spec<F, P>();
            if (m >= GemmFrom && Tile::Panel::kWords) spec.precision = Precision::a16;
            return spec;
          },
          [](const ProductArgs& args) noexcept {
            if (args.x.m < GemmFrom) {
              gemv<F, GemvMeta, Dot>(args);
            } else {
              gemm<F, Tile, PackRows>(args);
            }
          },
          [](std::size_t m) { return m < GemmFrom ? 0 : gemm_scratch<typename Tile::Panel>(m); },
          [](std::size_t m) -> KernelDescription {
            if (m < GemmFrom) return {"gemv", "blocks read in place, 8 rows at a time", 8, kGemvColumns};
            using Panel = typename Tile::Panel;
            return {"gemm", Panel::kWords ? "16-bit panels of rows x 256" : "8-bit panels of rows x 256", Panel::kRows,
                    static_cast<std::size_t>(Tile::kColumns)};
          }};
}

/// integer_product in a8 for interleaved weights. Lanes: the registers of the GEMV, Columns: those of one pass.
template <class F, class Lanes, int Columns, class Dot, class Tile, std::size_t GemmFrom>
constexpr ProductKernel interleaved_product() {
  ProductKernel kernel = integer_product<F, Precision::a8, Dot, Tile, GemmFrom>();
  kernel.run = [](const ProductArgs& args) noexcept {
    if (args.x.m < GemmFrom) {
      gemv_interleaved<F, Lanes, Columns>(args, gemv<F, A8Meta, Dot>);
    } else {
      gemm<F, Tile, PackInterleaved<Lanes>>(args);
    }
  };
  kernel.describe = [](std::size_t m) -> KernelDescription {
    if (m < GemmFrom) return {"gemv", "interleaved blocks, 16 rows at a time", kInterleavedRows, Columns};
    KernelDescription d = integer_product<F, Precision::a8, Dot, Tile, GemmFrom>().describe(m);
    d.path = Tile::Panel::kWords ? "16-bit panels of interleaved rows x 256" : "8-bit panels of interleaved rows x 256";
    return d;
  };
  return kernel;
}

}  // namespace
}  // namespace quantlinear::cpu
