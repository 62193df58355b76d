// Timing layers the way they are used: weights come from memory, activation preparation counts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model.hpp"

namespace qlinear {

/// One layer to be timed: what to load, not yet loaded.
struct LayerSource {
  std::string name;
  std::vector<quantlinear::QuantPart> parts;
  std::uint64_t in_features = 0;

  [[nodiscard]] std::uint64_t out_features() const;
  [[nodiscard]] std::uint64_t weight_bytes() const;
};

/// One pass over a model reads every weight once. Where the weights of `layers` together are so small
/// that a cache would still hold them at the next pass, this makes further copies in memory of their
/// own, for the passes to take in turn: at least four times the last-level cache altogether, but never
/// more than 2 GiB or a quarter of the machine's memory. result[0] is `layers` itself.
[[nodiscard]] quantlinear::Result<std::vector<std::vector<LayerSource>>> with_copies(std::vector<LayerSource> layers);

/// A context with activations and room for results, for layers up to a size.
class ForwardClock {
 public:
  [[nodiscard]] static quantlinear::Result<ForwardClock> create(const quantlinear::AnyBackend& backend,
                                                                std::uint64_t input_floats,
                                                                std::uint64_t output_floats);
  /// Seconds of one forward of m rows, until the results are there.
  [[nodiscard]] quantlinear::Result<double> time(const Layer& layer, std::uint64_t m);

 private:
  using Backend = quantlinear::AnyBackend;
  ForwardClock(Backend::Context ctx, Backend::Buffer input, Backend::Buffer output)
      : ctx_(std::move(ctx)), input_(std::move(input)), output_(std::move(output)) {}

  Backend::Context ctx_;
  Backend::Buffer input_;
  Backend::Buffer output_;
};

/// Order statistics of repeated timings.
[[nodiscard]] double median(std::vector<double> samples);
[[nodiscard]] double least(std::span<const double> samples);

}  // namespace qlinear
