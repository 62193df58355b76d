#include "projections.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <tuple>

#include "machine.hpp"
#include "model.hpp"
#include "quantlinear/linear.hpp"
#include "text.hpp"
#include "timing.hpp"

namespace qlinear {

using quantlinear::AnyBackend;
using quantlinear::ErrorCode;
using quantlinear::fail;
using quantlinear::GgufFile;
using quantlinear::GgufTensorInfo;
using quantlinear::Precision;
using quantlinear::Result;
using quantlinear::Status;

namespace {

using Clock = std::chrono::steady_clock;

// Batch sizes compared with exact sums. Rows that several of them share must agree bit for bit, so
// the kernels of large batches are covered by the rows of small ones.
const std::vector<std::uint64_t> kVerifyM{1, 16};

// Time spent on decode passes, and on prefill before projections of a shape already timed are taken
// over from their like; both per precision.
constexpr double kDecodeSeconds = 1.5;
constexpr std::size_t kLeastPasses = 5;
constexpr double kPrefillSeconds = 12;

/// Largest result of a prefill: the 262144 logits of 512 tokens would take half a gigabyte.
constexpr std::uint64_t kMostOutputFloats = std::uint64_t{64} << 20U;

// Shares of the time, roughly, for the progress bar.
constexpr double kVerifyShare = 0.4, kDecodeShare = 0.2;

bool is_lookup(const GgufFile& file, std::string_view name) {
  constexpr std::array<std::string_view, 3> tables{"position_embd.weight", "token_types.weight",
                                                   "per_layer_token_embd.weight"};
  if (std::ranges::find(tables, name) != tables.end()) return true;
  return name == "token_embd.weight" && file.contains("output.weight");
}

class Measurement {
 public:
  Measurement(const GgufFile& file, const AnyBackend& backend, std::span<const Precision> precisions,
              const ReportProgress& progress)
      : file_(file), backend_(backend), precisions_(precisions), progress_(progress) {}

  Result<ModelReport> run() {
    if (auto s = collect(); !s) return std::unexpected(s.error());
    if (auto s = prepare(); !s) return std::unexpected(s.error());
    for (std::size_t i = 0; i < precisions_.size(); ++i) {
      if (auto s = measure(i); !s) return std::unexpected(s.error());
    }
    return std::move(report_);
  }

 private:
  using Layers = std::vector<Layer>;

  /// Finds the projections and makes the copies of their weights.
  Status collect() {
    std::vector<LayerSource> sources;
    for (const GgufTensorInfo& tensor : file_.tensors()) {
      if (!is_matrix(tensor) || tensor.dims.size() != 2 || tensor.bytes == 0) continue;
      if (is_lookup(file_, tensor.name)) {
        report_.lookups.push_back(tensor.name);
        continue;
      }
      auto part = part_of(file_, tensor);
      if (!part) return std::unexpected(part.error());
      sources.push_back({tensor.name, {std::move(*part)}, tensor.in_features()});
      const bool head = tensor.name == "output.weight" || tensor.name == "token_embd.weight";
      report_.projections.push_back({&tensor, head, std::vector<ProjectionFigures>(precisions_.size())});
      report_.weight_bytes += tensor.bytes;
    }
    if (sources.empty()) return fail(ErrorCode::not_found, "the file has no two-dimensional weight matrices");
    auto copies = with_copies(std::move(sources));
    if (!copies) return std::unexpected(copies.error());
    sources_ = std::move(*copies);
    report_.copies = sources_.size();
    return {};
  }

  /// Room for the largest activations and results, and the readers of the streamed read.
  Status prepare() {
    std::uint64_t input = 0, output = 0;
    for (const Projection& projection : report_.projections) {
      const std::uint64_t m = prefill_m(*projection.tensor);
      input = std::max(input, m * projection.tensor->in_features());
      output = std::max(output, m * projection.tensor->rows());
    }
    auto clock = ForwardClock::create(backend_, input, output);
    if (!clock) return std::unexpected(clock.error());
    clock_.emplace(std::move(*clock));
    const auto layers = load(sources_.front(), precisions_.front());
    if (!layers) return std::unexpected(layers.error());
    const quantlinear::Explanation explanation = layers->front().explain(1);
    report_.threads = explanation.threads;
    if (!explanation.parts.empty()) report_.isa = explanation.parts.front().instruction_set;
    return {};
  }

  [[nodiscard]] Result<Layers> load(std::span<const LayerSource> sources, Precision precision) const {
    Layers layers;
    for (const LayerSource& source : sources) {
      auto layer = Layer::from_gguf_fused(backend_, source.parts, source.in_features, {precision});
      if (!layer) {
        return fail(layer.error().code, fmt::format("tensor {}: {}", quoted(source.name, 80), layer.error().message));
      }
      layers.push_back(std::move(*layer));
    }
    return layers;
  }

  Status measure(std::size_t index) {
    current_ = index;
    std::vector<Layers> copies;
    for (const auto& sources : sources_) {
      auto layers = load(sources, precisions_[index]);
      if (!layers) return std::unexpected(layers.error());
      copies.push_back(std::move(*layers));
    }
    if (auto s = verify(copies.front()); !s) return s;
    if (auto s = look_at_stream(); !s) return s;
    if (auto s = decode(copies); !s) return s;
    if (auto s = look_at_stream(); !s) return s;
    if (auto s = prefill(copies.front()); !s) return s;
    report_.totals.push_back(add_up());
    return {};
  }

  Status verify(const Layers& layers) {
    std::uint64_t done = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const GgufTensorInfo& tensor = *report_.projections[i].tensor;
      quantlinear::VerifyOptions options{.m = kVerifyM};
      options.progress = [&](std::uint64_t rows, std::uint64_t all) {
        const double share = static_cast<double>(rows) / static_cast<double>(std::max<std::uint64_t>(1, all));
        const double bytes = static_cast<double>(done) + share * static_cast<double>(tensor.bytes);
        say(kVerifyShare * bytes / static_cast<double>(report_.weight_bytes), tensor.name);
      };
      const auto verified = layers[i].verify(options);
      if (!verified) return std::unexpected(verified.error());
      ProjectionFigures& figures = report_.projections[i].figures[current_];
      figures.passed = verified->passed;
      for (const auto& result : verified->results) {
        if (!(result.nmse <= figures.nmse)) figures.nmse = result.nmse;  // a NaN is kept
      }
      report_.passed = report_.passed && verified->passed;
      done += tensor.bytes;
    }
    return {};
  }

  /// One pass is one token: every projection in order, each time from another place in memory than the
  /// pass before.
  Status decode(const std::vector<Layers>& copies) {
    std::vector<std::vector<double>> samples(report_.projections.size());
    double spent = 0;
    for (std::size_t pass = 0; pass <= kLeastPasses || spent < kDecodeSeconds; ++pass) {
      const Layers& layers = copies[pass % copies.size()];
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const auto seconds = clock_->time(layers[i], 1);
        if (!seconds) return std::unexpected(seconds.error());
        spent += *seconds;
        if (pass > 0) samples[i].push_back(*seconds);  // the first pass brings pages and threads to life
      }
      say(kVerifyShare + kDecodeShare * std::min(1.0, spent / kDecodeSeconds), "one token after another");
    }
    for (std::size_t i = 0; i < samples.size(); ++i) {
      report_.projections[i].figures[current_].decode_seconds = median(std::move(samples[i]));
    }
    return {};
  }

  Status prefill(const Layers& layers) {
    using Shape = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>;
    std::map<Shape, double> known;
    if (auto warm_up = clock_->time(layers.front(), prefill_m(*report_.projections.front().tensor)); !warm_up) {
      return std::unexpected(warm_up.error());
    }
    double spent = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const GgufTensorInfo& tensor = *report_.projections[i].tensor;
      ProjectionFigures& figures = report_.projections[i].figures[current_];
      figures.prefill_m = prefill_m(tensor);
      const Shape shape{tensor.type_id, tensor.rows(), tensor.in_features()};
      if (const auto like = known.find(shape); spent > kPrefillSeconds && like != known.end()) {
        figures.prefill_seconds = like->second;
        continue;
      }
      const auto seconds = clock_->time(layers[i], figures.prefill_m);
      if (!seconds) return std::unexpected(seconds.error());
      figures.prefill_seconds = *seconds;
      known.try_emplace(shape, *seconds);
      spent += *seconds;
      const double share = static_cast<double>(i) / static_cast<double>(layers.size());
      say(kVerifyShare + kDecodeShare + (1 - kVerifyShare - kDecodeShare) * share, tensor.name);
    }
    return {};
  }

  [[nodiscard]] ModelTotals add_up() const {
    ModelTotals totals{.precision = precisions_[current_]};
    double operations = 0;
    for (const Projection& projection : report_.projections) {
      const ProjectionFigures& figures = projection.figures[current_];
      const auto weights = static_cast<double>(weights_of(*projection.tensor));
      totals.decode_seconds += figures.decode_seconds;
      // For the head the prompt's last token is one row; for the rest prefill_m is the whole prompt,
      // or stands for it.
      const double rows = static_cast<double>(kPromptTokens) / static_cast<double>(figures.prefill_m);
      totals.prompt_seconds += projection.is_head ? figures.decode_seconds : figures.prefill_seconds * rows;
      operations += 2 * weights * (projection.is_head ? 1.0 : static_cast<double>(kPromptTokens));
    }
    totals.weight_bytes_per_second = static_cast<double>(report_.weight_bytes) / totals.decode_seconds;
    totals.prompt_flops = operations / totals.prompt_seconds;
    return totals;
  }

  static std::uint64_t prefill_m(const GgufTensorInfo& tensor) {
    return std::clamp<std::uint64_t>(kMostOutputFloats / std::max<std::uint64_t>(1, tensor.rows()), 1, kPromptTokens);
  }

  Status look_at_stream() {
    const auto rate = streamed_read(report_.threads);
    if (!rate) return std::unexpected(rate.error());
    report_.stream_bytes_per_second = std::max(report_.stream_bytes_per_second, *rate);
    return {};
  }

  void say(double share_of_precision, std::string_view what) const {
    progress_((static_cast<double>(current_) + share_of_precision) / static_cast<double>(precisions_.size()), what);
  }

  const GgufFile& file_;
  const AnyBackend& backend_;
  std::span<const Precision> precisions_;
  const ReportProgress& progress_;
  ModelReport report_;
  std::vector<std::vector<LayerSource>> sources_;  // [copy][projection]
  std::optional<ForwardClock> clock_;
  std::size_t current_ = 0;  // index of the precision being measured
};

}  // namespace

Result<ModelReport> measure_model(const GgufFile& file, const AnyBackend& backend,
                                  std::span<const Precision> precisions, const ReportProgress& progress) {
  return Measurement(file, backend, precisions, progress).run();
}

}  // namespace qlinear
