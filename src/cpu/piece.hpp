// The two steps of a forward for one piece of up to kMaxColumns activation rows: preparing the rows, and
// multiplying them with every part of a store.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "cpu/forward_plan.hpp"
#include "cpu/item_shares.hpp"
#include "quantlinear/executor.hpp"
#include "quantlinear/matrix.hpp"

namespace quantlinear::cpu {

/// The view from row `first` on; for views whose size is checked already.
template <class View>
[[nodiscard]] View rows_from(View view, std::size_t first) {
  view.data += first * view.row_stride;
  return view;
}

/// Prepares m rows of x in every way that `layout` holds, into layout.bytes bytes from `to` on.
inline void prepare_rows(const PreparedLayout& layout, const HostInput& x, std::size_t in_features, std::size_t m,
                         std::byte* to, Executor& executor) noexcept {
  bool* finite = reinterpret_cast<bool*>(to + layout.finite_at);
  const auto prepare = [&](std::size_t row) {
    finite[row] = true;
    for (const PreparedLayout::Entry& entry : layout.all()) {
      finite[row] &= entry.prepare_row(entry.spec, x.data + row * x.row_stride, in_features, row, m,
                                       to + entry.values_at, to + entry.meta_at);
    }
  };
  // Preparing a row costs about a nanosecond per eight values: share it out only when there is much.
  constexpr std::size_t kValuesPerLane = 16384;
  const std::size_t lanes = std::min({executor.concurrency(), m, m * in_features / kValuesPerLane + 1});
  auto rows = [&](std::size_t lane) {
    for (std::size_t row = lane * m / lanes; row < (lane + 1) * m / lanes; ++row) prepare(row);
  };
  if (lanes <= 1) {
    for (std::size_t row = 0; row < m; ++row) prepare(row);
  } else {
    executor.run(lanes, rows);
  }
}

struct Piece {
  std::span<const QuantPart> parts;
  const LayerKernels& layer;
  const ForwardPlan& plan;
  const PreparedLayout& layout;  ///< holds what every part needs
  const std::byte* prepared;
  std::byte* lanes;  ///< plan.lanes * plan.lane_bytes
  HostOutput out;
  std::size_t m;

  /// Work item `item`: its granules of rows, counted through the parts.
  void multiply_item(std::size_t item, std::byte* lane_scratch) const noexcept {
    std::size_t first = item * plan.granules_per_item;
    std::size_t end = first + plan.granules_per_item;
    for (std::size_t p = 0; p < parts.size() && end != 0; ++p) {
      const std::size_t granules = (parts[p].rows + kRowGranule - 1) / kRowGranule;
      if (first < granules) {
        const PartKernels& part = layer.parts[p];
        const PreparedLayout::Entry& activations = *layout.find(spec_of(*part.product, plan.pieces.columns));
        part.product->run({.weights = reinterpret_cast<const std::uint8_t*>(part.weights),
                           .row_bytes = part.row_bytes,
                           .row_begin = first * kRowGranule,
                           .row_end = std::min<std::size_t>(end * kRowGranule, parts[p].rows),
                           .in_features = layer.in_features,
                           .x = {prepared + activations.values_at, prepared + activations.meta_at, m},
                           .out = out.data + part.first_column,
                           .out_stride = out.row_stride,
                           .bias = parts[p].bias.empty() ? nullptr : parts[p].bias.data(),
                           .scratch = lane_scratch,
                           .interleaved_rows = part.interleaved_rows});
      }
      first -= std::min(first, granules);
      end -= std::min(end, granules);
    }
  }

  void multiply(Executor& executor) const noexcept {
    if (plan.lanes <= 1) {
      for (std::size_t item = 0; item < plan.items; ++item) multiply_item(item, lanes);
    } else {
      ItemShares shares(plan.items, plan.lanes);
      auto work = [&](std::size_t lane) {
        shares.work(lane, [&](std::size_t item) { multiply_item(item, lanes + lane * plan.lane_bytes); });
      };
      executor.run(plan.lanes, work);
    }
    const bool* finite = reinterpret_cast<const bool*>(prepared + layout.finite_at);
    for (std::size_t row = 0; row < m; ++row) {
      if (!finite[row]) {
        std::fill_n(out.data + row * out.row_stride, layer.out_features, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }
};

}  // namespace quantlinear::cpu
