// Quantising one row of activations, in plain C++: the definition that every instruction set's own
// version reproduces bit for bit (docs/numerics.md), and its helpers.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cpu/activations.hpp"

namespace quantlinear::cpu {
namespace {

/// Scale of a block and the factor that maps its values to integers: q = round(x * pre * inverse).
struct BlockScale {
  float scale;  ///< x is about scale * q
  float inverse;
  float pre;  ///< 1, or 2^64 for blocks so small that the inverse would overflow
};

inline BlockScale block_scale(float largest, float max_q) {
  if (largest == 0.0f) return {0.0f, 0.0f, 1.0f};
  if (largest < 0x1p-100f) {
    const float up = largest * 0x1p64f;
    return {up / max_q * 0x1p-64f, max_q / up, 0x1p64f};
  }
  return {largest / max_q, max_q / largest, 1.0f};
}

/// To the nearest integer, ties to even, for |v| < 2^22 in the default rounding mode.
inline std::int32_t round_to_int(float v) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: the sum has no bits behind the point
  return static_cast<std::int32_t>((v + kMagic) - kMagic);
}

/// Position of value i of a 32-group in the a16 order (activations.hpp).
constexpr std::size_t a16_position(std::size_t i) { return i < 8 || i >= 24 ? i : i < 16 ? i + 8 : i - 8; }

inline void fill_sums(const std::int32_t (&sums)[16], A8Meta& meta) {
  for (int j = 0; j < 16; ++j) meta.sums16[j] = static_cast<std::int16_t>(sums[j]);
  for (int j = 0; j < 8; ++j) meta.sums32[j] = static_cast<std::int16_t>(sums[2 * j] + sums[2 * j + 1]);
}
inline void split_sum(std::int32_t sum, std::int16_t (&pair)[2]) {
  const std::int32_t high = (sum + 256) >> 9;
  pair[0] = static_cast<std::int16_t>(high);
  pair[1] = static_cast<std::int16_t>(sum - high * 512);
}
inline void fill_sums(const std::int32_t (&sums)[16], A16Meta& meta) {
  for (int j = 0; j < 16; ++j) {
    meta.sums16[j] = sums[j];
    split_sum(sums[j], meta.split16[j]);
  }
  for (int j = 0; j < 8; ++j) {
    meta.sums32[j] = sums[2 * j] + sums[2 * j + 1];
    split_sum(meta.sums32[j], meta.split32[j]);
  }
}

/// A8PairMeta has sums of its own, which fill_pairs makes of the values.
inline void fill_sums(const std::int32_t (&)[16], A8PairMeta&) {}
inline void fill_pairs(const ActivationSpec& spec, const std::int8_t* values, A8PairMeta& meta) {
  std::memset(meta.pairs, 0, sizeof meta.pairs);
  for (std::size_t i = 0; i < kChunk; i += 4) {
    std::int16_t(&pair)[2] = meta.pairs[i / spec.pair_step];
    pair[0] = static_cast<std::int16_t>(pair[0] - spec.offset * (values[i] + values[i + 1]));
    pair[1] = static_cast<std::int16_t>(pair[1] - spec.offset * (values[i + 2] + values[i + 3]));
  }
}

inline bool all_finite(const float* x, std::size_t count) {
  bool finite = true;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    finite &= (bits & 0x7f800000u) != 0x7f800000u;
  }
  return finite;
}

/// One chunk of `count` values into the a8 or a16 layout (Value int8 or int16).
template <class Value, class Meta>
inline void quantise_chunk(const ActivationSpec& spec, const float* x, std::size_t count, Value* values, Meta& meta) {
  std::int32_t sums[16] = {};
  std::memset(values, 0, kChunk * sizeof(Value));
  std::memset(&meta, 0, sizeof(Meta));
  for (std::size_t start = 0; start < count; start += spec.block) {
    const std::size_t end = start + spec.block < count ? start + spec.block : count;
    float largest = 0.0f;
    for (std::size_t i = start; i < end; ++i) {
      const float magnitude = x[i] < 0 ? -x[i] : x[i];
      largest = magnitude > largest ? magnitude : largest;
    }
    const BlockScale s = block_scale(largest, spec.max_q);
    for (std::size_t j = start / 32; j < (start + spec.block) / 32; ++j) meta.scale[j] = s.scale;
    for (std::size_t i = start; i < end; ++i) {
      const std::int32_t q = round_to_int(x[i] * s.pre * s.inverse);
      sums[i / 16] += q;
      if (spec.planes) {
        auto* bytes = reinterpret_cast<std::uint8_t*>(values);
        bytes[i] = static_cast<std::uint8_t>(q);
        bytes[kChunk + i] = static_cast<std::uint8_t>(q >> 8);
      } else {
        const std::size_t at = sizeof(Value) == 1 ? i : (i / 32) * 32 + a16_position(i % 32);
        values[at] = static_cast<Value>(q);
      }
    }
  }
  fill_sums(sums, meta);
  if constexpr (std::is_same_v<Meta, A8PairMeta>) fill_pairs(spec, values, meta);
}

template <class Value, class Meta>
inline void quantise_row(const ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                         std::size_t m, void* values, void* meta) {
  for (std::size_t chunk = 0; chunk * kChunk < in_features; ++chunk) {
    const std::size_t left = in_features - chunk * kChunk, at = chunk * m + row;
    quantise_chunk(spec, x + chunk * kChunk, left < kChunk ? left : kChunk, static_cast<Value*>(values) + at * kChunk,
                   static_cast<Meta*>(meta)[at]);
  }
}

/// Of precision f32; `x` is null for a row of zeros.
inline void copy_row(const ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                     std::size_t m, void* values) {
  const std::size_t side = spec.side_by_side, rows = stored_rows(spec, m);
  for (std::size_t chunk = 0; chunk * kChunk < in_features; ++chunk) {
    const std::size_t left = in_features - chunk * kChunk;
    float* out = static_cast<float*>(values) + (chunk * rows + row / side * side) * kChunk + 8 * (row % side);
    float padded[kChunk];
    const bool whole = x != nullptr && left >= kChunk;
    if (!whole) {
      std::memset(padded, 0, sizeof padded);
      if (x != nullptr) std::memcpy(padded, x + chunk * kChunk, left * sizeof(float));
    }
    const float* from = whole ? x + chunk * kChunk : padded;
    for (std::size_t i = 0; i < kChunk; i += 8) std::memcpy(out + side * i, from + i, 8 * sizeof(float));
  }
  if (row + 1 == m && m < rows) copy_row(spec, nullptr, in_features, m, m, values);
}

/// A row that holds a NaN or an infinity is prepared as zeros; the backend makes its outputs NaN.
inline void clear_row(const ActivationSpec& spec, std::size_t in_features, std::size_t row, std::size_t m, void* values,
                      void* meta) {
  if (spec.precision == Precision::f32) return copy_row(spec, nullptr, in_features, row, m, values);
  const std::size_t value = kChunk * value_bytes(spec.precision), extra = meta_bytes(spec);
  for (std::size_t chunk = 0; chunk * kChunk < in_features; ++chunk) {
    std::memset(static_cast<std::byte*>(values) + (chunk * m + row) * value, 0, value);
    std::memset(static_cast<std::byte*>(meta) + (chunk * m + row) * extra, 0, extra);
  }
}

/// PrepareRow in plain C++.
inline bool prepare_row_scalar(const ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                               std::size_t m, void* values, void* meta) {
  if (!all_finite(x, in_features)) {
    clear_row(spec, in_features, row, m, values, meta);
    return false;
  }
  switch (spec.precision) {
    case Precision::f32:
      copy_row(spec, x, in_features, row, m, values);
      break;
    case Precision::a16:
      quantise_row<std::int16_t, A16Meta>(spec, x, in_features, row, m, values, meta);
      break;
    case Precision::a8:
      if (spec.pair_step == 0) {
        quantise_row<std::int8_t, A8Meta>(spec, x, in_features, row, m, values, meta);
      } else {
        quantise_row<std::int8_t, A8PairMeta>(spec, x, in_features, row, m, values, meta);
      }
      break;
  }
  return true;
}

}  // namespace
}  // namespace quantlinear::cpu
