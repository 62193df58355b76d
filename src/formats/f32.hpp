// F32: IEEE single precision, little-endian; a block is one weight.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct F32 {
  static constexpr GgufQuantType kType = GgufQuantType::F32;
  static constexpr Family kFamily = Family::float_weight;
  static constexpr int kBlockElements = 1;
  static constexpr int kBlockBytes = 4;

  static float value(const std::uint8_t* block) { return bits_to_float(le32(block)); }
  static void dequantize(const std::uint8_t* block, float* out) { *out = value(block); }
};

}  // namespace
}  // namespace quantlinear::formats
