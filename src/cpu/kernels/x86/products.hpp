// A product kernel of the integer precisions: two kinds of GEMV, and GEMM, each from a certain m on.
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/gemm.hpp"
#include "cpu/kernels/x86/gemv_lanes.hpp"
#include "cpu/kernels/x86/panel_lanes.hpp"

namespace quantlinear::cpu {
namespace {

/// Which kernel is used from which m on. Measured for each instruction set, docs/performance-log.md.
struct UsedFrom {
  std::size_t lanes;             ///< GEMV with rows that are interleaved in the cache (a8, Interleavable); below it Dot
  std::size_t gemm;              ///< GEMM
  std::size_t lane_columns = 4;  ///< of one pass of the GEMV in lanes
  bool through_cache = true;     ///< whether panels of super-blocks are packed through the cache, where they can be
};

/// How panels are packed.
template <class F, class Dot, bool ThroughCache, bool Words>
struct PackerOf {
  using Type = std::conditional_t<ThroughCache, PackThroughCache<F, typename Dot::Lanes>, PackRows<F>>;
};
template <class F, class Dot>
  requires requires { typename Dot::template Packer<F>; }
struct PackerOf<F, Dot, false, false> {
  using Type = typename Dot::template Packer<F>;
};

/// P: the integers to compute with.
/// Dot: one row against few columns, and Dot::Lanes, the registers where lanes are rows.
/// Tile: of the GEMM.
template <class F, Precision P, class Dot, class Tile, UsedFrom From>
struct IntegerProduct {
  static constexpr bool kLanes = Interleavable<F> && P == Precision::a8 && From.lanes < From.gemm;
  using GemvMeta = std::conditional_t<P == Precision::a8, A8Meta, A16Meta>;
  static constexpr bool kThroughCache = Interleavable<F> && F::kFamily == Family::super_block && From.through_cache;
  using Packer = typename PackerOf<F, Dot, kThroughCache, Tile::Panel::kWords>::Type;

  // Constants: put together member by member and then read as a whole, a spec would cost each call tens of cycles.
  static constexpr ActivationSpec kOfGemv = activation_spec<F, P>();
  static constexpr ActivationSpec kOfGemm = [] {
    ActivationSpec spec = kOfGemv;
    if (Tile::Panel::kWords) spec.precision = Precision::a16;  // the same values, as words where panels are
    if constexpr (requires { Tile::kPairStep; }) {
      if (Tile::kPairStep != 0) {
        spec.offset = static_cast<std::uint8_t>(F::kOffset);
        spec.pair_step = static_cast<std::uint8_t>(Tile::kPairStep);
      }
    }
    if constexpr (MultipliesPanels<Tile>) spec.planes = Tile::kPlanes;
    return spec;
  }();
  static ActivationSpec activations(std::size_t m) { return m >= From.gemm ? kOfGemm : kOfGemv; }
  static void run(const ProductArgs& args) noexcept {
    if (args.x.m >= From.gemm) return gemm<Tile, Packer>(args);
    if constexpr (kLanes) {
      using Lanes = typename Dot::Lanes;
      if (args.x.m >= From.lanes) {
        return gemv_in_lanes<F, Lanes, LanesInFile<F, Lanes>, From.lane_columns>(args, args.row_end,
                                                                                 gemv<F, GemvMeta, Dot>);
      }
    }
    gemv<F, GemvMeta, Dot>(args);
  }
  static std::size_t scratch_bytes(std::size_t m, std::size_t in_features) {
    return m < From.gemm ? gemv_scratch<F, GemvMeta, Dot>(m, in_features) : gemm_scratch<Tile, Packer>(m);
  }
  static KernelDescription describe(std::size_t m) {
    using Panel = typename Tile::Panel;
    if (m >= From.gemm) {
      if constexpr (MultipliesPanels<Tile>) {
        return {"gemm", Tile::path(m), Panel::kRows, Tile::tile_columns(m)};
      } else {
        return {"gemm", Panel::kWords ? "16-bit panels of rows x 256" : "8-bit panels of rows x 256", Panel::kRows,
                static_cast<std::size_t>(Tile::kColumns)};
      }
    }
    if (kLanes && m >= From.lanes) {
      return {"gemv", "blocks interleaved in the cache, 16 rows at a time", kInterleavedRows, From.lane_columns};
    }
    constexpr std::size_t kColumns = gemv_columns<F, GemvMeta, Dot>();
    if (m >= kSixteenRowsFrom<F, GemvMeta, Dot>) {
      return {"gemv", "blocks read in place, 16 rows at a time", 16, kColumns};
    }
    return {"gemv", "blocks read in place, 8 rows at a time", 8, kColumns};
  }
};

template <class F, Precision P, class Dot, class Tile, UsedFrom From>
constexpr ProductKernel integer_product() {
  using Product = IntegerProduct<F, P, Dot, Tile, From>;
  return {Product::activations, Product::run, Product::scratch_bytes, Product::describe};
}

/// integer_product in a8 for interleaved weights.
template <class F, class Dot, class Tile, UsedFrom From>
constexpr ProductKernel interleaved_product() {
  using Lanes = typename Dot::Lanes;
  ProductKernel kernel = integer_product<F, Precision::a8, Dot, Tile, From>();
  kernel.run = [](const ProductArgs& args) noexcept {
    if (args.x.m < From.gemm) {
      const std::size_t end = args.row_end < args.interleaved_rows ? args.row_end : args.interleaved_rows;
      gemv_in_lanes<F, Lanes, LanesInStore<F, Lanes>, From.lane_columns>(args, end, gemv<F, A8Meta, Dot>);
    } else {
      gemm<Tile, PackInterleaved<F, Lanes>>(args);
    }
  };
  kernel.describe = [](std::size_t m) -> KernelDescription {
    if (m < From.gemm) {
      return {"gemv", "interleaved blocks, 16 rows at a time", kInterleavedRows, From.lane_columns};
    }
    KernelDescription d = IntegerProduct<F, Precision::a8, Dot, Tile, From>::describe(m);
    if constexpr (!MultipliesPanels<Tile>) {
      d.path =
          Tile::Panel::kWords ? "16-bit panels of interleaved rows x 256" : "8-bit panels of interleaved rows x 256";
    }
    return d;
  };
  return kernel;
}

}  // namespace
}  // namespace quantlinear::cpu
