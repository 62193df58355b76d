#include "random_weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

namespace qlinear {

using quantlinear::ErrorCode;
using quantlinear::fail;
using quantlinear::GgufQuantType;
using quantlinear::QuantBytes;
using quantlinear::Result;

namespace {

constexpr std::size_t kPoolBytes = 256 * 1024;
constexpr int kMostDraws = 100'000;

// The largest weight of a block lies in this range: what trained weights look like, roughly.
constexpr float kLeast = 1.0F / 64, kMost = 1.0F;

void fill_random(std::span<std::byte> bytes, std::mt19937_64& random) {
  while (!bytes.empty()) {
    const std::uint64_t bits = random();
    const std::size_t count = std::min(bytes.size(), sizeof bits);
    std::memcpy(bytes.data(), &bits, count);
    bytes = bytes.subspan(count);
  }
}

}  // namespace

Result<RandomWeights> RandomWeights::create(GgufQuantType type, std::uint64_t seed) {
  RandomWeights weights(*quantlinear::quant_type_info(type), seed);
  const std::size_t block = weights.type_->block_bytes;
  weights.pool_.resize(kPoolBytes / block * block);
  // Drawing is slow where most random scales are absurd, so only a part is drawn; what is left of the
  // pool repeats it.
  const std::size_t drawn = std::min(weights.pool_.size(), 2048 * block);
  for (std::size_t at = 0; at < drawn; at += block) {
    if (!weights.draw(std::span(weights.pool_).subspan(at, block))) {
      return fail(ErrorCode::unsupported, fmt::format("no plausible random blocks of type {}", to_string(type)));
    }
  }
  for (std::size_t at = drawn; at < weights.pool_.size(); at += block) {
    const std::size_t from = weights.random_() % (drawn / block) * block;
    std::memcpy(weights.pool_.data() + at, weights.pool_.data() + from, block);
  }
  return weights;
}

bool RandomWeights::draw(std::span<std::byte> block) {
  std::vector<float> values(type_->block_elements);
  for (int i = 0; i < kMostDraws; ++i) {
    fill_random(block, random_);
    if (!quantlinear::dequantize(type_->type, block, values)) return false;
    float largest = 0;
    for (const float value : values) largest = std::isfinite(value) ? std::max(largest, std::fabs(value)) : kMost * 2;
    if (largest >= kLeast && largest <= kMost) return true;
  }
  return false;
}

Result<QuantBytes> RandomWeights::matrix(std::uint64_t rows, std::uint64_t columns) try {
  const Result<std::uint64_t> size = quantlinear::matrix_bytes(type_->type, rows, columns);
  if (!size) return std::unexpected(size.error());
  std::vector<std::byte> bytes(*size);
  // Runs of the pool from random places, so that rows differ.
  const std::size_t block = type_->block_bytes;
  const std::size_t pool_blocks = pool_.size() / block;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t from = random_() % pool_blocks * block;
    const std::size_t count = std::min({bytes.size() - at, pool_.size() - from, std::size_t{64} * block});
    std::memcpy(bytes.data() + at, pool_.data() + from, count);
    at += count;
  }
  return QuantBytes::own(std::move(bytes));
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::out_of_memory, fmt::format("no memory for {} x {} weights", rows, columns));
}

}  // namespace qlinear
