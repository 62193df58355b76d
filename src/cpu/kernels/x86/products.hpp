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
              gemm<F, Tile>(args, pack_rows<F, typename Tile::Panel>);
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

/// pack_panel of a matrix whose first rows are interleaved.
template <class F, class Lanes, class Panel>
void pack_any(const ProductArgs& args, std::size_t first, std::size_t chunk, int groups, Panel& panel) {
  std::size_t packed = 0;
  for (; packed < Panel::kRows && first + packed < args.interleaved_rows; packed += kInterleavedRows) {
    const InterleavedGroup<F> group(args.weights + (first + packed) * args.row_bytes, args.row_bytes);
    pack_interleaved<F, Lanes>(group, chunk, groups, packed, panel);
  }
  if (packed < Panel::kRows && first + packed < args.row_end) {
    pack_panel<F>(args, first, chunk, groups, panel, static_cast<int>(packed / 8));
  }
}

/// integer_product in a8 for interleaved weights. Lanes: the registers of the GEMV, Columns: those of one pass.
template <class F, class Lanes, int Columns, class Dot, class Tile, std::size_t GemmFrom>
constexpr ProductKernel interleaved_product() {
  ProductKernel kernel = integer_product<F, Precision::a8, Dot, Tile, GemmFrom>();
  kernel.run = [](const ProductArgs& args) noexcept {
    if (args.x.m < GemmFrom) {
      gemv_interleaved<F, Lanes, Columns>(args, gemv<F, A8Meta, Dot>);
    } else {
      gemm<F, Tile>(args, pack_any<F, Lanes, typename Tile::Panel>);
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
