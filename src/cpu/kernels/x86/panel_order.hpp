// The order in which a matrix is multiplied panel by panel: many activation rows at every precision.
//
// A panel is some rows of one chunk of 256 k. All columns run against it while it is in the first-level cache; a chunk
// of the activations and the results so far stream past.
#pragma once

#include "cpu/activations.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/kernels/x86/gemv.hpp"

namespace quantlinear::cpu {
namespace {

/// Where a panel begins: its first row and its chunk of k.
struct PanelAt {
  std::size_t row, chunk;
};

/// What is fetched while the panel of Rows rows at `at` is packed, from its row `row` on: a piece for each row.
template <class F, std::size_t Rows, class Fetch = Ahead<kRowChunkBytes<F>, 1, FetchTo<F>::kPanels>>
[[gnu::always_inline]] inline Fetch ahead_of_panel(const ProductArgs& args, PanelAt at, PanelAt ahead,
                                                   std::size_t row) {
  // With many columns it is long before the next rows are needed, and the activations take their place in the cache.
  if (F::kFamily == Family::super_block && args.x.m <= 64 && fit_ahead(Rows, args.row_bytes)) {
    const std::size_t pieces = at.chunk * Rows + row;
    return {PiecesAhead<>::in_a_row(args.weights + (at.row + Rows) * args.row_bytes + pieces * kRowChunkBytes<F>,
                                    kRowChunkBytes<F>)};
  }
  return {PiecesAhead<>::in_a_row(args.weights + (ahead.row + row) * args.row_bytes + ahead.chunk * kRowChunkBytes<F>,
                                  args.row_bytes)};
}

/// Calls panel(at, ahead) for every panel of `height` rows, `Ahead` panels ahead of it: it adds the products of the
/// panel at `at` to `results` [column][Rows], and may fetch the weights of the panel at `ahead`, which comes soon (and
/// may be past the end). Then writes the results: what happens between two chunks is the canonical chain of f32 steps,
/// the same as in the GEMV.
template <std::size_t Rows, std::size_t Ahead = 2, class Panel>
[[gnu::always_inline]] inline void in_panel_order(const ProductArgs& args, float* results, Panel panel,
                                                  std::size_t height = Rows) {
  const std::size_t chunks = chunks_of(args.in_features);
  for (std::size_t row = args.row_begin; row < args.row_end; row += height) {
    std::memset(results, 0, args.x.m * Rows * sizeof(float));
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      // The next rows follow the last chunk.
      const std::size_t next = chunk + Ahead;
      const PanelAt ahead = next < chunks ? PanelAt{row, next} : PanelAt{row + height, next - chunks};
      panel(PanelAt{row, chunk}, ahead);
    }
    const std::size_t rows = args.row_end - row < height ? args.row_end - row : height;
    for (std::size_t c = 0; c < args.x.m; ++c) {
      for (std::size_t r = 0; r < rows; r += 8) {
        store_rows(args, row + r, 0, rows - r < 8 ? rows - r : 8, c, _mm256_loadu_ps(results + c * Rows + r));
      }
    }
  }
}

}  // namespace
}  // namespace quantlinear::cpu
