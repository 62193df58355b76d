// Many activation rows of the integer precisions: panels of 16 or 32 weight rows (panel.hpp), multiplied by a tile of
// some columns at a time.
#pragma once

#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

template <class Panel, class Packer>
struct GemmMemory {
  Panel panel;
  typename Packer::Memory packer;
};

/// Tile must offer: kColumns, Panel, Meta, and
///   template <int C> static void chunk(const Panel&, int groups, const ChunkX<Meta>&, float* tile)
/// which adds one chunk of C columns to tile [C][Panel::kRows].
///
/// Packer::pack(args, at, groups, ahead, memory, panel) fills the panel at `at` and fetches what the one at `ahead`
/// is made of, kAhead panels later, bit by bit: a core waits once too many lines are on their way. Memory: what it
/// needs besides.
template <class Tile, class Packer>
void gemm(const ProductArgs& args) noexcept {
  using Panel = typename Tile::Panel;
  using Meta = typename Tile::Meta;
  constexpr std::size_t kRows = Panel::kRows;
  // Not on the stack: there it made the tiles 5 % slower, by where it moved their accumulators (docs/performance.md).
  using Memory = GemmMemory<Panel, Packer>;
  auto& memory = *reinterpret_cast<Memory*>(args.scratch);
  float* results = reinterpret_cast<float*>(args.scratch + sizeof(Memory));
  in_panel_order<kRows, Packer::kAhead>(args, results, [&](PanelAt at, PanelAt ahead) {
    const std::size_t columns = args.x.m;
    const std::size_t left = (args.in_features - at.chunk * kChunk) / 32;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
    Packer::pack(args, at, groups, ahead, memory.packer, memory.panel);
    std::size_t c = 0;
    const auto step = [&]<int C>() {
      Tile::template chunk<C>(memory.panel, groups, ChunkX<Meta>(args.x, at.chunk, c), results + c * kRows);
      c += C;
    };
    while (c + Tile::kColumns <= columns) step.template operator()<Tile::kColumns>();
    if constexpr (Tile::kColumns > 4) {
      while (c + 4 <= columns) step.template operator()<4>();
    }
    switch (columns - c) {
      case 3:
        step.template operator()<3>();
        break;
      case 2:
        step.template operator()<2>();
        break;
      case 1:
        step.template operator()<1>();
        break;
      default:
        break;
    }
  });
}

template <class Panel, class Packer>
std::size_t gemm_scratch(std::size_t m) {
  return sizeof(GemmMemory<Panel, Packer>) + m * Panel::kRows * sizeof(float);
}

}  // namespace
}  // namespace quantlinear::cpu
