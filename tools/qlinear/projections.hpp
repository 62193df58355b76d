// Checks and times every projection of a model: the figures behind `qlinear report`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model.hpp"
#include "quantlinear/gguf.hpp"

namespace qlinear {

/// Rows of the prompt that prefill is timed with.
inline constexpr std::uint64_t kPromptTokens = 512;

/// What was measured of one projection in one precision.
struct ProjectionFigures {
  double nmse = 0;  ///< the worst over the batch sizes tried
  bool passed = false;
  double decode_seconds = 0;    ///< m = 1, median over passes through the whole model
  std::uint64_t prefill_m = 0;  ///< kPromptTokens; less for an output head too wide for that
  double prefill_seconds = 0;   ///< of prefill_m rows
};

struct Projection {
  const quantlinear::GgufTensorInfo* tensor = nullptr;
  bool is_head = false;                    ///< makes the logits: in a prompt only the last token needs it
  std::vector<ProjectionFigures> figures;  ///< one per precision
};

/// Of all projections together, in one precision.
struct ModelTotals {
  quantlinear::Precision precision{};
  double decode_seconds = 0;           ///< one token through every projection
  double weight_bytes_per_second = 0;  ///< during that
  double prompt_seconds = 0;           ///< kPromptTokens through every projection, the head for the last only
  double prompt_flops = 0;             ///< arithmetic of that, per second
};

struct ModelReport {
  std::vector<Projection> projections;
  std::vector<std::string> lookups;  ///< tables used by row look-up only, not timed
  std::vector<ModelTotals> totals;   ///< one per precision
  std::string isa;
  std::size_t threads = 0;
  std::uint64_t weight_bytes = 0;
  std::size_t copies = 1;              ///< of the weights, so that no cache holds them between passes
  double stream_bytes_per_second = 0;  ///< the fastest streamed read of the run
  bool passed = true;

  [[nodiscard]] double share_of_stream(double bytes, double seconds) const {
    return bytes / seconds / stream_bytes_per_second;
  }
};

/// Called with the share of all work done and the name of what is worked on.
using ReportProgress = std::function<void(double, std::string_view)>;

/// Every two-dimensional weight matrix of the file except tables that are only looked up. Takes well
/// under two minutes for some 300 million weights on two cores.
[[nodiscard]] quantlinear::Result<ModelReport> measure_model(const quantlinear::GgufFile& file,
                                                             const quantlinear::AnyBackend& backend,
                                                             std::span<const quantlinear::Precision> precisions,
                                                             const ReportProgress& progress);

}  // namespace qlinear
