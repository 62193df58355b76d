#include "weights.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>

namespace peers {
namespace {

constexpr unsigned activation_seed = 1u << 20;  // unlike that of any type, or x would be a row of W

void fill_normal(std::span<float> values, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(generator);
}

/// Asks one entrant after the other until one can.
std::string ask_any(std::span<Entrant> entrants, const std::string& request) {
  std::string reasons;
  for (Entrant& entrant : entrants) {
    try {
      return entrant.ask(request);
    } catch (const std::runtime_error& error) {
      reasons += entrant.name() + ": " + error.what() + "; ";
    }
  }
  throw std::runtime_error("nobody can " + request + " (" + reasons + ")");
}

}  // namespace

Weights::Weights(const WeightType& type, Shape shape, std::span<Entrant> entrants, const Arena& arena)
    : shape_(shape), period_(std::min(shape.n, distinct_rows)) {
  const std::string spelled = std::to_string(type.id) + ' ' + type.name;
  BlockShape block;
  std::istringstream(ask_any(entrants, "block " + spelled)) >> block.elements >> block.bytes;
  if (block.elements == 0 || shape.k % block.elements != 0) {
    throw std::runtime_error(type.name + " has blocks of " + std::to_string(block.elements) + " weights");
  }
  const std::size_t row = shape.k / block.elements * block.bytes, count = period_ * shape.k;
  bytes_ = shape.n * row;
  if (bytes_ > Arena::region_bytes || count * sizeof(float) > Arena::region_bytes) {
    throw std::runtime_error("the matrix is too large for the shared memory");
  }
  const std::string rows = ' ' + std::to_string(period_) + ' ' + std::to_string(shape.k);
  fill_normal({arena.scratch(), count}, type.id + 1);
  ask_any(entrants, "quantize " + spelled + rows);
  ask_any(entrants, "dequantize " + spelled + rows);
  decoded_.assign(arena.scratch(), arena.scratch() + count);
  for (std::size_t i = period_; i < shape.n; ++i) {
    std::memcpy(arena.weights() + i * row, arena.weights() + i % period_ * row, row);
  }
}

void Weights::make_activations(std::size_t m, const Arena& arena) const {
  if (m * std::max(shape_.k, shape_.n) * sizeof(float) > Arena::region_bytes) {
    throw std::runtime_error("too many activations for the shared memory");
  }
  fill_normal({arena.activations(), m * shape_.k}, activation_seed);
}

void Weights::compute_exact(std::size_t m, const Arena& arena) {
  constexpr std::size_t most_checked = 32;
  const std::size_t count = std::min(m, most_checked);
  checked_.clear();
  for (std::size_t i = 0; i < count; ++i) checked_.push_back(count == 1 ? 0 : i * (m - 1) / (count - 1));
  exact_.assign(count * period_, 0.0);
  for (std::size_t i = 0; i < count; ++i) {
    const float* x = arena.activations() + checked_[i] * shape_.k;
    for (std::size_t r = 0; r < period_; ++r) {
      const float* w = decoded_.data() + r * shape_.k;
      double sum = 0;
      for (std::size_t j = 0; j < shape_.k; ++j) sum += double{x[j]} * double{w[j]};
      exact_[i * period_ + r] = sum;
    }
  }
  exact_m_ = m;
}

double Weights::error_of_outputs(std::size_t m, const Arena& arena) {
  if (exact_m_ != m) compute_exact(m, arena);
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < checked_.size(); ++i) {
    const float* y = arena.outputs() + checked_[i] * shape_.n;
    for (std::size_t r = 0; r < shape_.n; ++r) {
      const double exact = exact_[i * period_ + r % period_], difference = double{y[r]} - exact;
      error += difference * difference;
      scale += exact * exact;
    }
  }
  return error / scale;
}

}  // namespace peers
