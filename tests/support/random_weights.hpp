// Random but valid weights of any type, found without knowing the type: blocks of random bytes, taken
// only if they decode to moderate numbers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "quantlinear/quant_type.hpp"

namespace quantlinear::test {

/// `count` random floats, Gaussian; the same on every machine.
inline std::vector<float> random_activations(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return (static_cast<double>(random()) + 0.5) / 4294967296.0; };
  std::vector<float> x(count);
  for (float& v : x)
    v = static_cast<float>(std::sqrt(-2.0 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()));
  return x;
}

/// A matrix of `rows` x `columns` weights whose largest magnitude in a block is between `least` and `most`.
inline std::vector<std::byte> random_weights(GgufQuantType type, std::size_t rows, std::size_t columns,
                                             std::uint32_t seed, float least = 1e-3f, float most = 100.0f) {
  const QuantTypeInfo& info = *quant_type_info(type);
  std::mt19937 random(seed * 977 + static_cast<std::uint32_t>(type));
  // A pool of good blocks: rejection is slow for types with wide exponents, so draw from a few.
  std::vector<std::vector<std::byte>> pool;
  std::vector<float> values(info.block_elements);
  for (int tries = 0; pool.size() < 64 && tries < 200000; ++tries) {
    std::vector<std::byte> block(info.block_bytes);
    for (std::byte& b : block) b = static_cast<std::byte>(random());
    if (!dequantize(type, block, values)) break;
    float largest = 0;
    bool good = true;
    for (const float v : values) {
      good = good && std::isfinite(v);
      largest = std::max(largest, std::abs(v));
    }
    if (good && largest >= least && largest <= most) pool.push_back(std::move(block));
  }
  if (pool.empty()) throw std::runtime_error("no good random blocks of " + std::string(info.name));
  const std::size_t blocks = rows * (columns / info.block_elements);
  std::vector<std::byte> bytes;
  bytes.reserve(blocks * info.block_bytes);
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::vector<std::byte>& block = pool[random() % pool.size()];
    bytes.insert(bytes.end(), block.begin(), block.end());
  }
  return bytes;
}

}  // namespace quantlinear::test
