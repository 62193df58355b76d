#include "timing.hpp"

#include <algorithm>
#include <chrono>
#include <random>

#include "machine.hpp"
#include "quantlinear/linear.hpp"

namespace qlinear {

using quantlinear::AnyBackend;
using quantlinear::QuantBytes;
using quantlinear::QuantPart;
using quantlinear::Result;

std::uint64_t LayerSource::out_features() const {
  std::uint64_t rows = 0;
  for (const QuantPart& part : parts) rows += part.rows;
  return rows;
}

std::uint64_t LayerSource::weight_bytes() const {
  std::uint64_t bytes = 0;
  for (const QuantPart& part : parts) bytes += part.bytes.size();
  return bytes;
}

Result<std::vector<std::vector<LayerSource>>> with_copies(std::vector<LayerSource> layers) {
  std::uint64_t bytes = 0;
  for (const LayerSource& layer : layers) bytes += layer.weight_bytes();
  const std::uint64_t wanted = 4 * last_level_cache_bytes();
  const std::uint64_t most = std::min(std::uint64_t{2} << 30U, physical_memory_bytes() / 4);
  // A copy of a tiny layer takes some memory, and time, besides its weights.
  const std::uint64_t cost = bytes + 16384 * layers.size();
  std::uint64_t count = 1;
  if (bytes > 0) count = std::max<std::uint64_t>(1, std::min((wanted + bytes - 1) / bytes, most / cost));

  std::vector<std::vector<LayerSource>> copies{std::move(layers)};
  while (copies.size() < count) {
    std::vector<LayerSource> copy = copies.front();
    for (LayerSource& layer : copy) {
      for (QuantPart& part : layer.parts) {
        auto own = QuantBytes::copy(part.bytes.bytes());
        if (!own) return std::unexpected(own.error());
        part.bytes = std::move(*own);
      }
    }
    copies.push_back(std::move(copy));
  }
  return copies;
}

Result<ForwardClock> ForwardClock::create(const AnyBackend& backend, std::uint64_t input_floats,
                                          std::uint64_t output_floats) {
  auto ctx = backend.new_context();
  if (!ctx) return std::unexpected(ctx.error());
  auto input = backend.allocate(input_floats);
  if (!input) return std::unexpected(input.error());
  auto output = backend.allocate(output_floats);
  if (!output) return std::unexpected(output.error());
  std::vector<float> values(input_floats);
  std::mt19937 random(1);
  std::normal_distribution<float> gaussian;
  for (float& value : values) value = gaussian(random);
  if (auto s = backend.upload(values, *input); !s) return std::unexpected(s.error());
  return ForwardClock(std::move(*ctx), std::move(*input), std::move(*output));
}

Result<double> ForwardClock::time(const Layer& layer, std::uint64_t m) {
  const AnyBackend::Input input(std::as_const(input_), 0, 0);
  const AnyBackend::Output output(output_, 0, 0);
  const auto start = std::chrono::steady_clock::now();
  if (auto s = layer.forward(ctx_, input, output, m); !s) return std::unexpected(s.error());
  if (auto s = ctx_.flush(); !s) return std::unexpected(s.error());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> samples) {
  if (samples.empty()) return 0;
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::ranges::nth_element(samples, middle);
  if (samples.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(samples.begin(), middle)) / 2;
}

double least(std::span<const double> samples) { return samples.empty() ? 0 : *std::ranges::min_element(samples); }

}  // namespace qlinear
