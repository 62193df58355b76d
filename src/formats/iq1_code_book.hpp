// The code book that IQ1_S and IQ1_M share; a table entry holds 8 * value + 8 per byte.
#pragma once

#include "formats/format.hpp"
#include "formats/tables/iq1_grid.hpp"

namespace quantlinear::formats {
namespace {

/// Value i of an entry: -1, 0 or 1.
inline float grid_value(std::uint64_t entry, int i) noexcept {
  return static_cast<float>((entry >> (8 * i)) & 255u) * 0.125f - 1.0f;
}

}  // namespace
}  // namespace quantlinear::formats
