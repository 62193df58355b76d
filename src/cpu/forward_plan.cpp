#include "cpu/forward_plan.hpp"

#include <algorithm>
#include <utility>

namespace quantlinear::cpu {
namespace {

constexpr std::size_t align(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

/// Below this many bytes of weights (times columns) a second worker costs more than it brings: at
/// 20 GB/s 64 KiB take 3 microseconds, and waking a spinning worker about one.
constexpr std::size_t kBytesPerLane = std::size_t{64} * 1024;
/// Work items per lane: enough to even out a core that another process holds up, few enough to keep
/// each worker on long contiguous streams.
constexpr std::size_t kItemsPerLane = 8;

}  // namespace

Result<LayerKernels> choose_kernels(std::span<const InstructionSet* const> choices, std::span<const QuantPart> parts,
                                    std::uint64_t in_features, std::uint64_t out_features, Precision precision,
                                    Prover proof) {
  LayerKernels layer;
  layer.in_features = in_features;
  layer.out_features = out_features;
  std::size_t column = 0;
  for (const QuantPart& part : parts) {
    Result<ProvedSet> proved = first_proved(choices, part.kind, precision, proof);
    if (!proved) return std::unexpected(std::move(proved.error()));
    PartKernels p;
    p.set = proved->set;
    p.reason = std::move(proved->reason);
    p.format = p.set->find(part.kind);
    p.product = &p.format->product[static_cast<std::size_t>(precision)];
    const Result<std::uint64_t> bytes = row_bytes(part.kind, in_features);
    if (!bytes) return std::unexpected(bytes.error());
    p.row_bytes = *bytes;
    p.first_column = column;
    column += part.rows;
    layer.parts.push_back(std::move(p));
  }
  return layer;
}

ForwardPlan plan_forward(const LayerKernels& layer, std::span<const QuantPart> parts, std::uint64_t m,
                         std::size_t threads) {
  ForwardPlan plan;
  plan.pieces = ceil_divide(m, kMaxColumns);
  plan.columns = ceil_divide(m, plan.pieces);
  for (const PartKernels& part : layer.parts) {
    const ActivationSpec spec = part.product->activations(std::max<std::size_t>(plan.columns, 1));
    const auto known = std::ranges::find(plan.specs, spec);
    plan.spec_of_part.push_back(static_cast<std::size_t>(known - plan.specs.begin()));
    if (known == plan.specs.end()) {
      plan.specs.push_back(spec);
      plan.prepare_row.push_back(part.set->prepare_row);
    }
  }
  const std::size_t chunks = chunks_of(layer.in_features);
  std::size_t at = 0;
  for (const ActivationSpec& spec : plan.specs) {
    plan.values_at.push_back(at);
    at += align(chunks * plan.columns * kChunk * value_bytes(spec.precision));
    plan.meta_at.push_back(at);
    at += align(chunks * plan.columns * meta_bytes(spec.precision));
  }
  plan.finite_at = at;
  at += align(plan.columns);

  std::size_t granules = 0, weight_bytes = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    granules += (parts[i].rows + kRowGranule - 1) / kRowGranule;
    weight_bytes += parts[i].rows * layer.parts[i].row_bytes;
    plan.lane_bytes =
        std::max(plan.lane_bytes, align(layer.parts[i].product->scratch_bytes(std::max<std::size_t>(plan.columns, 1))));
  }
  const std::size_t worth = weight_bytes * std::max<std::size_t>(plan.columns, 1) / kBytesPerLane + 1;
  plan.lanes = std::max<std::size_t>(1, std::min({threads, granules, worth}));
  plan.granules_per_item = std::max<std::size_t>(1, granules / (plan.lanes * kItemsPerLane));
  plan.items = (granules + plan.granules_per_item - 1) / plan.granules_per_item;
  plan.lane_at = at;
  plan.bytes = at + plan.lanes * plan.lane_bytes;
  return plan;
}

}  // namespace quantlinear::cpu
