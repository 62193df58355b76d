// Many activation rows of the integer precisions: panels of 16 or 32 weight rows (panel.hpp), multiplied by a tile of
// some columns at a time.
#pragma once

#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

/// Tile must offer: kColumns, Panel, Meta, and
///   template <int C> static void chunk(const Panel&, int groups, const ChunkX<Meta>&, float* tile)
/// which adds one chunk of C columns to tile [C][Panel::kRows].
///
/// Packer::pack<F>(args, at, groups, ahead, panel) fills the panel at `at` and fetches what the one at `ahead` is made
/// of, bit by bit: a core waits once too many lines are on their way.
template <class F, class Tile, class Packer>
void gemm(const ProductArgs& args) noexcept {
  using Panel = typename Tile::Panel;
  using Meta = typename Tile::Meta;
  constexpr std::size_t kRows = Panel::kRows;
  Panel& panel = *reinterpret_cast<Panel*>(args.scratch);
  float* results = reinterpret_cast<float*>(args.scratch + sizeof(Panel));
  in_panel_order<kRows>(args, results, [&](PanelAt at, PanelAt ahead) {
    const std::size_t columns = args.x.m;
    const std::size_t left = (args.in_features - at.chunk * kChunk) / 32;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
    Packer::template pack<F>(args, at, groups, ahead, panel);
    std::size_t c = 0;
    const auto step = [&]<int C>() {
      Tile::template chunk<C>(panel, groups, ChunkX<Meta>(args.x, at.chunk, c), results + c * kRows);
      c += C;
    };
    while (c + Tile::kColumns <= columns) step.template operator()<Tile::kColumns>();
    if constexpr (Tile::kColumns > 4) {
      while (c + 4 <= columns) step.template operator()<4>();
    }
    while (c + 2 <= columns) step.template operator()<2>();
    if (c < columns) step.template operator()<1>();
  });
}

template <class Panel>
std::size_t gemm_scratch(std::size_t m) {
  return sizeof(Panel) + m * Panel::kRows * sizeof(float);
}

}  // namespace
}  // namespace quantlinear::cpu
