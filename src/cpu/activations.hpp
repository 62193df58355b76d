// Prepared activations: the layout that every kernel of every instruction set reads.
//
// A chunk is 256 consecutive k (the last one of a row may be shorter and is padded with zeros).
// Data is chunk-major: everything a GEMM needs of one chunk for all m rows is contiguous, whatever
// the row stride of the caller, so power-of-two strides cannot thrash a cache set.
//
//   f32   float   values[chunk][m][256], or two rows side by side, m rounded up to even: [chunk][m / 2][32][2][8]
//   a8    int8    values[chunk][m][256]   meta A8Meta [chunk][m], or A8PairMeta
//   a16   int16   values[chunk][m][256]   meta A16Meta[chunk][m]
//         Within each 32 the order is 0..7, 16..23, 8..15, 24..31: what a byte-to-word unpack of
//         32 weights gives on x86 in two instructions. Exact integer sums do not care.
//         Values of a8 are stored like this, too, where a kernel multiplies words (max_q tells them apart).
//   a16, planes   uint8 low[256], int8 high[256] for each [chunk][m], value = 256 * high + low, in order
//
// x is about scale * q with integer q, |q| <= max_q. One scale per `block` values: 256 where the
// weight format is a super-block, 32 where it has small blocks. See docs/numerics.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quantlinear/precision.hpp"

namespace quantlinear::cpu {

inline constexpr std::size_t kChunk = 256;

/// How one weight format wants its activations. Formats with equal specs share one preparation.
struct ActivationSpec {
  Precision precision = Precision::f32;
  std::uint16_t block = 256;       ///< values per scale: 32 or 256; f32: 256
  std::uint16_t max_q = 0;         ///< largest |q|; f32: 0
  std::uint16_t side_by_side = 1;  ///< rows that take turns by eight values: 1; f32: or 2
  bool planes = false;             ///< a16: low bytes of a chunk, then high bytes
  std::uint8_t offset = 0;         ///< a8: of A8PairMeta
  std::uint8_t pair_step = 0;      ///< a8: of A8PairMeta, 16 or 32; 0: A8Meta

  friend bool operator==(const ActivationSpec&, const ActivationSpec&) = default;
};

struct A8Meta {
  float scale[8];           ///< of each 32; a block of 256 repeats its one scale
  std::int16_t sums16[16];  ///< sum of q over each 16
  std::int16_t sums32[8];   ///< sum of q over each 32
};

/// For kernels that sum products in int16, two lanes for four k, and begin with what an offset of the weights adds too
/// much. Of each spec.pair_step values -offset times the sums of those that share a lane: of values 4i and 4i + 1, and
/// of 4i + 2 and 4i + 3; modulo 2^16, which is enough where the sum in the end fits int16.
struct A8PairMeta {
  float scale[8];
  std::int16_t pairs[16][2];
};

struct A16Meta {
  float scale[8];
  std::int32_t sums16[16];
  std::int32_t sums32[8];
  /// The same sums as int16 pairs (high, low) with sum = 512 * high + low, low in [-256, 255]: one
  /// multiply-add instruction takes both, against the weight pair (512 * min, min).
  std::int16_t split16[16][2];
  std::int16_t split32[8][2];
};

/// Prepared activations of m rows.
struct Activations {
  const void* values = nullptr;
  const void* meta = nullptr;  ///< A8Meta, A8PairMeta, A16Meta or null
  std::size_t m = 0;
};

constexpr std::size_t chunks_of(std::size_t in_features) { return (in_features + kChunk - 1) / kChunk; }

constexpr std::size_t value_bytes(Precision precision) {
  return precision == Precision::f32 ? 4 : precision == Precision::a16 ? 2 : 1;
}
constexpr std::size_t meta_bytes(const ActivationSpec& spec) {
  if (spec.precision == Precision::f32) return 0;
  if (spec.precision == Precision::a16) return sizeof(A16Meta);
  return spec.pair_step == 0 ? sizeof(A8Meta) : sizeof(A8PairMeta);
}

/// m rows in memory: whole groups of those side by side.
constexpr std::size_t stored_rows(const ActivationSpec& spec, std::size_t m) {
  return (m + spec.side_by_side - 1) / spec.side_by_side * spec.side_by_side;
}
/// Bytes of the values of m rows.
constexpr std::size_t values_bytes(const ActivationSpec& spec, std::size_t in_features, std::size_t m) {
  return chunks_of(in_features) * stored_rows(spec, m) * kChunk * value_bytes(spec.precision);
}

/// Prepares row `row` of m: reads x[in_features], writes its part of every chunk. Returns false if
/// the row holds a NaN or an infinity; its values and scales are then all zero. The last row brings those that are
/// missing beside it, as zeros.
using PrepareRow = bool (*)(const ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                            std::size_t m, void* values, void* meta);

}  // namespace quantlinear::cpu
