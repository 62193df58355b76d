// What the library says about itself, as data: plans, ledgers, explanations, self-checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quantlinear/precision.hpp"
#include "quantlinear/quant_type.hpp"

namespace quantlinear {

/// Bytes of memory by kind. What a plan says before loading is what the ledger says afterwards.
struct MemoryUse {
  std::uint64_t resident_bytes = 0;  ///< allocated by the backend for weights and biases, or owned by their QuantBytes
  std::uint64_t shared_bytes =
      0;  ///< weights used in place: pages of a mapped file, or memory borrowed from the caller
  std::uint64_t transient_bytes =
      0;  ///< scratch memory of contexts: prepared activations, panels, tiles; prepared inputs

  friend bool operator==(const MemoryUse&, const MemoryUse&) = default;
  MemoryUse& operator+=(const MemoryUse& other) noexcept {
    resident_bytes += other.resident_bytes;
    shared_bytes += other.shared_bytes;
    transient_bytes += other.transient_bytes;
    return *this;
  }
};

/// How one part of a layer will run for a given m.
struct PartExplanation {
  GgufQuantType kind{};
  std::uint64_t rows = 0;  ///< output columns this part writes
  Precision requested = Precision::a8;
  Precision runs = Precision::a8;  ///< at least as exact as requested
  std::string instruction_set;     ///< "avx2"
  std::string kernel;              ///< "gemv", "gemm" ...
  std::string path;                ///< what the kernel does, e.g. "blocks read in place, 8 rows x 4 columns"
  std::size_t tile_rows = 0;       ///< weight rows a kernel step handles together
  std::size_t tile_columns = 0;    ///< activation rows a kernel step handles together
  std::string reason;              ///< why not the first choice; empty if it is the first choice
};

/// How a layer will run for a given m.
struct Explanation {
  std::string backend;
  std::uint64_t in_features = 0;
  std::uint64_t out_features = 0;
  std::uint64_t m = 0;
  std::size_t threads = 0;
  MemoryUse memory;  ///< of this layer, transient bytes for this m
  std::vector<PartExplanation> parts;
};

/// One comparison of the chosen kernels with f64 arithmetic on the exactly dequantised weights.
struct VerifyResult {
  std::uint64_t m = 0;
  /// sum (y - y_exact)^2 / sum y_exact^2, or over what the latter is on average where that is more: a
  /// few sums may happen to cancel.
  double nmse = 0;
  double max_abs_error = 0;
  /// The bound of docs/numerics.md for the precision, times 1 + 5 sqrt(2 / n): the mean of few squared errors
  /// scatters. n is the number of output features, fewer where some rows are much larger than others.
  double nmse_limit = 0;
  /// nmse is within the limit, values are finite where and only where the exact ones are, and rows do
  /// not depend on m.
  bool passed = false;
};

struct VerifyReport {
  Precision precision = Precision::a8;
  bool passed = false;  ///< no broken block, every result passed
  /// First block with a NaN or infinite scale, if any: part index, row, block in the row.
  struct BrokenBlock {
    std::size_t part = 0;
    std::uint64_t row = 0, block = 0, byte_offset_in_part = 0;
  };
  std::optional<BrokenBlock> broken_block;
  std::vector<VerifyResult> results;  ///< one per m tried
};

}  // namespace quantlinear
