// A product kernel of the integer precisions: GEMV below a certain m, GEMM from there on.
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/gemm.hpp"
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
            args.x.m < GemmFrom ? gemv<F, GemvMeta, Dot>(args) : gemm<F, Tile>(args);
          },
          [](std::size_t m) { return m < GemmFrom ? 0 : gemm_scratch<typename Tile::Panel>(m); },
          [](std::size_t m) -> KernelDescription {
            if (m < GemmFrom) return {"gemv", "blocks read in place, 8 rows at a time", 8, kGemvColumns};
            using Panel = typename Tile::Panel;
            return {"gemm", Panel::kWords ? "16-bit panels of rows x 256" : "8-bit panels of rows x 256", Panel::kRows,
                    static_cast<std::size_t>(Tile::kColumns)};
          }};
}

}  // namespace
}  // namespace quantlinear::cpu
