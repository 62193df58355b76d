// BF16: the upper half of an IEEE single, little-endian; a block is one weight.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

struct BF16 {
  static constexpr GgufQuantType kType = GgufQuantType::BF16;
  static constexpr Family kFamily = Family::float_weight;
  static constexpr int kBlockElements = 1;
  static constexpr int kBlockBytes = 2;

  static float value(const std::uint8_t* block) { return bits_to_float(std::uint32_t{le16(block)} << 16); }
  static void dequantize(const std::uint8_t* block, float* out) { *out = value(block); }
};

}  // namespace
}  // namespace quantlinear::formats
