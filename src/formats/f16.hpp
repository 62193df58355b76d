// F16: IEEE half precision, little-endian; a block is one weight.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct F16 {
  static constexpr GgufQuantType kType = GgufQuantType::F16;
  static constexpr Family kFamily = Family::float_weight;
  static constexpr int kBlockElements = 1;
  static constexpr int kBlockBytes = 2;

  static float value(const std::uint8_t* block) { return half_to_float(le16(block)); }
  static void dequantize(const std::uint8_t* block, float* out) { *out = value(block); }
};

}  // namespace
}  // namespace quantlinear::formats
