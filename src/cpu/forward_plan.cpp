#include "cpu/forward_plan.hpp"

#include <algorithm>
#include <utility>

#include "cpu/scratch.hpp"

namespace quantlinear::cpu {
namespace {

constexpr std::size_t align(std::size_t bytes, std::size_t to = 64) { return (bytes + to - 1) / to * to; }

/// So many bytes and a page that nobody uses. The hardware fetches on past the end of what a core reads, into the page
/// after it (measured on Zen 4), and would take from another core what that one writes.
constexpr std::size_t apart(std::size_t bytes) { return bytes == 0 ? 0 : align(bytes, kScratchPage) + kScratchPage; }

/// Below this many bytes of weights (times columns) a second worker costs more than it brings: at
/// 20 GB/s 64 KiB take 3 microseconds, and waking a spinning worker about one.
constexpr std::size_t kBytesPerLane = std::size_t{64} * 1024;
/// Work items per lane: enough to even out a core that another process holds up, few enough to keep
/// each worker on long contiguous streams.
constexpr std::size_t kItemsPerLane = 8;

/// Why a part stays as in the file; empty if it need not.
std::string no_interleaving(const InstructionSet& set, const FormatKernels& format, const QuantPart& part,
                            Precision precision) {
  if (precision != Precision::a8) return "not interleaved: the precision is not a8";
  if (part.bytes.size() == 0) return "not interleaved: there are no weights";
  if (format.interleaved.run == nullptr) {
    return "not interleaved: " + std::string(set.name) + " has no such kernels of " + std::string(to_string(part.kind));
  }
  if (part.rows < kInterleavedRows) {
    return "not interleaved: " + std::to_string(part.rows) + " rows, at least " + std::to_string(kInterleavedRows) +
           " are needed";
  }
  return {};
}

}  // namespace

Result<LayerKernels> choose_kernels(std::span<const InstructionSet* const> choices, std::span<const QuantPart> parts,
                                    std::uint64_t in_features, std::uint64_t out_features, Precision precision,
                                    StoreLayout layout, Prover proof) {
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
    if (layout == StoreLayout::interleaved) {
      const std::string obstacle = no_interleaving(*p.set, *p.format, part, precision);
      if (obstacle.empty()) {
        p.product = &p.format->interleaved;
        p.interleaved_rows = interleaved_rows(part.rows);
      } else {
        p.reason += (p.reason.empty() ? "" : "; ") + obstacle;
      }
    }
    const Result<std::uint64_t> bytes = row_bytes(part.kind, in_features);
    if (!bytes) return std::unexpected(bytes.error());
    p.row_bytes = *bytes;
    p.first_column = column;
    column += part.rows;
    layer.parts.push_back(std::move(p));
  }
  return layer;
}

const PreparedLayout::Entry* PreparedLayout::find(const ActivationSpec& spec) const {
  const auto known = std::ranges::find(all(), spec, &Entry::spec);
  return known == all().end() ? nullptr : &*known;
}

namespace {

/// Of an empty layout, which is where it is to stay: copying one costs as much as making it.
void lay_out(PreparedLayout& layout, std::span<const LayerKernels* const> layers, std::size_t columns) {
  for (const LayerKernels* layer : layers) {
    const std::size_t chunks = chunks_of(layer->in_features);
    for (const PartKernels& part : layer->parts) {
      const ActivationSpec spec = spec_of(*part.product, columns);
      if (layout.find(spec) != nullptr || layout.entries.size() == PreparedLayout::kMostEntries) continue;
      const std::size_t values_at = layout.bytes;
      const std::size_t meta_at = values_at + align(values_bytes(spec, layer->in_features, columns));
      layout.bytes = meta_at + align(chunks * columns * meta_bytes(spec));
      layout.entries.push_back({spec, part.set->prepare_row, values_at, meta_at});
    }
  }
  layout.finite_at = layout.bytes;
  layout.bytes = apart(layout.bytes + columns);
}

}  // namespace

PreparedLayout layout_prepared(std::span<const LayerKernels* const> layers, std::size_t columns) {
  PreparedLayout layout;
  lay_out(layout, layers, columns);
  return layout;
}

ForwardPlan plan_lanes(const LayerKernels& layer, std::span<const QuantPart> parts, std::uint64_t m,
                       std::size_t threads) {
  ForwardPlan plan;
  plan.pieces = Pieces(m);
  const std::size_t columns = std::max<std::size_t>(plan.pieces.columns, 1);
  std::size_t granules = 0, weight_bytes = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    granules += (parts[i].rows + kRowGranule - 1) / kRowGranule;
    weight_bytes += parts[i].rows * layer.parts[i].row_bytes;
    plan.lane_bytes =
        std::max(plan.lane_bytes, align(layer.parts[i].product->scratch_bytes(columns, layer.in_features)));
  }
  const std::size_t worth = weight_bytes * columns / kBytesPerLane + 1;
  plan.lanes = std::max<std::size_t>(1, std::min({threads, granules, worth}));
  if (plan.lanes == 1) {  // it has nobody to share with
    plan.granules_per_item = std::max<std::size_t>(1, granules);
    plan.items = granules == 0 ? 0 : 1;
  } else {
    plan.granules_per_item = std::max<std::size_t>(1, granules / (plan.lanes * kItemsPerLane));
    plan.items = ceil_divide(granules, plan.granules_per_item);
  }
  plan.lane_bytes = apart(plan.lane_bytes);
  plan.bytes = plan.lanes * plan.lane_bytes;
  return plan;
}

ForwardPlan plan_forward(const LayerKernels& layer, std::span<const QuantPart> parts, std::uint64_t m,
                         std::size_t threads) {
  ForwardPlan plan = plan_lanes(layer, parts, m, threads);
  const LayerKernels* layers[] = {&layer};
  lay_out(plan.prepared, layers, plan.pieces.columns);
  plan.bytes += plan.prepared.bytes;
  return plan;
}

}  // namespace quantlinear::cpu
