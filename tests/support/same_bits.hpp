// Comparison of results by their bits: the contract of docs/numerics.md, which knows no tolerance.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <span>

namespace quantlinear::test {

/// Equal bits everywhere; any NaN equals any other.
inline ::testing::AssertionResult same_bits(std::span<const float> found, std::span<const float> expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const bool both_nan = found[i] != found[i] && expected[i] != expected[i];
    if (!both_nan && std::memcmp(&found[i], &expected[i], sizeof(float)) != 0) {
      return ::testing::AssertionFailure() << "value " << i << ": " << found[i] << " is not " << expected[i];
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace quantlinear::test
