// Weights made of random bits: every format, without knowing any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "quantlinear/quant_bytes.hpp"
#include "quantlinear/quant_type.hpp"

namespace qlinear {

/// Makes matrices of valid blocks of one type. A block is random bytes, drawn again until it decodes
/// to finite values of a plausible size; matrices are put together from a pool of such blocks.
class RandomWeights {
 public:
  /// Error if no plausible blocks turn up (no format that exists is like that).
  [[nodiscard]] static quantlinear::Result<RandomWeights> create(quantlinear::GgufQuantType type, std::uint64_t seed);

  /// `rows` rows of `columns` weights; differs from call to call, the same for the same seed.
  [[nodiscard]] quantlinear::Result<quantlinear::QuantBytes> matrix(std::uint64_t rows, std::uint64_t columns);

 private:
  RandomWeights(const quantlinear::QuantTypeInfo& type, std::uint64_t seed) : type_(&type), random_(seed) {}
  /// One block into `block`; false if it was not found in a reasonable number of draws.
  [[nodiscard]] bool draw(std::span<std::byte> block);

  const quantlinear::QuantTypeInfo* type_;
  std::mt19937_64 random_;
  std::vector<std::byte> pool_;
};

}  // namespace qlinear
