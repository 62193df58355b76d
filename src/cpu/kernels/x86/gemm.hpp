// Many activation rows of the integer precisions: panels of 16 or 32 weight rows (panel.hpp), multiplied by a tile of
// some columns at a time.
#pragma once

#include "cpu/kernels/x86/fetch.hpp"
#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

/// What multiplies a panel by all columns, in passes of at most Tile::kColumns. Tile must offer: kColumns, Panel, Meta,
/// and
///   template <int C> static void chunk(const Panel&, int groups, const ChunkX<Meta>&, float* tile)
/// which adds one chunk of C columns to tile [C][Panel::kRows].
template <class Tile>
class InPasses {
 public:
  using Panel = typename Tile::Panel;
  struct Memory {};

  InPasses(std::size_t columns, Memory&) : columns_(columns) {}

  /// Adds the products of a panel of `groups` groups of 32 k to results [column][row].
  void multiply(Panel& panel, int groups, const Activations& x, std::size_t chunk, float* results) const {
    std::size_t c = 0;
    const auto step = [&]<int C>() {
      const ChunkX<typename Tile::Meta> columns(x, chunk, c);
      if (columns_ > kInCache) fetch_next<C>(columns, results + c * Panel::kRows);
      Tile::template chunk<C>(panel, groups, columns, results + c * Panel::kRows);
      c += C;
    };
    while (c + Tile::kColumns <= columns_) step.template operator()<Tile::kColumns>();
    if constexpr (Tile::kColumns > 4) {
      while (c + 4 <= columns_) step.template operator()<4>();
    }
    switch (columns_ - c) {
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
  }

 private:
  /// How many columns the first-level cache holds, about.
  static constexpr std::size_t kInCache = 16384 / ChunkX<typename Tile::Meta>::kColumnBytes;
  /// Of more columns than that, those of the next pass.
  template <int C>
  [[gnu::always_inline]] static void fetch_next(const ChunkX<typename Tile::Meta>& columns, const float* results) {
    prefetch<C* static_cast<int>(ChunkX<typename Tile::Meta>::kColumnBytes)>(columns.column(C));
    prefetch<C* static_cast<int>(Panel::kRows * sizeof(float))>(results + C * Panel::kRows);
  }

  std::size_t columns_;
};

/// A tile may multiply panels in a way of its own: it is an object then, for all panels of a call, like InPasses.
template <class Tile>
concept MultipliesPanels = requires { typename Tile::Memory; };
template <class Tile>
struct MultiplierOf {
  using Type = InPasses<Tile>;
};
template <MultipliesPanels Tile>
struct MultiplierOf<Tile> {
  using Type = Tile;
};

template <class Tile, class Packer>
struct GemmMemory {
  typename Tile::Panel panel;
  typename Packer::Memory packer;
  typename MultiplierOf<Tile>::Type::Memory multiplier;
};

/// Packer::pack(args, at, groups, ahead, memory, panel) fills the panel at `at` and fetches what the one at `ahead`
/// is made of, kAhead panels later, bit by bit: a core waits once too many lines are on their way. Memory: what it
/// needs besides.
template <class Tile, class Packer>
void gemm(const ProductArgs& args) noexcept {
  constexpr std::size_t kRows = Tile::Panel::kRows;
  // Not on the stack: there it made the tiles 5 % slower, by where it moved their accumulators
  // (docs/performance-log.md).
  using Memory = GemmMemory<Tile, Packer>;
  auto& memory = *reinterpret_cast<Memory*>(args.scratch);
  float* results = reinterpret_cast<float*>(args.scratch + sizeof(Memory));
  typename MultiplierOf<Tile>::Type multiplier(args.x.m, memory.multiplier);
  in_panel_order<kRows, Packer::kAhead>(args, results, [&](PanelAt at, PanelAt ahead) {
    const std::size_t left = (args.in_features - at.chunk * kChunk) / 32;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
    if (at.chunk == 0) fetch_translations(args, at.row, kRows);
    Packer::pack(args, at, groups, ahead, memory.packer, memory.panel);
    multiplier.multiply(memory.panel, groups, args.x, at.chunk, results);
  });
}

template <class Tile, class Packer>
std::size_t gemm_scratch(std::size_t m) {
  return sizeof(GemmMemory<Tile, Packer>) + m * Tile::Panel::kRows * sizeof(float);
}

}  // namespace
}  // namespace quantlinear::cpu
