// Making the interleaved layout of a weight matrix (interleaved_layout.hpp), and undoing it.
#pragma once

#include <cstddef>
#include <span>

#include "cpu/interleaved_layout.hpp"
#include "quantlinear/error.hpp"
#include "quantlinear/executor.hpp"
#include "quantlinear/quant_bytes.hpp"

namespace quantlinear::cpu {

/// The rows of a matrix: whole groups interleaved, the rest as they are.
struct InterleavedRows {
  const InterleavedBlock& block;
  std::size_t row_bytes;
  std::size_t rows;
};

/// A 64-byte aligned copy of `source`, made by the executor's threads; out_of_memory.
[[nodiscard]] Result<QuantBytes> interleave(const InterleavedRows& matrix, std::span<const std::byte> source,
                                            Executor& executor);
/// Row `row` of such a copy as it is in the file.
void extract_row(const InterleavedRows& matrix, std::span<const std::byte> copy, std::size_t row, std::byte* target);

}  // namespace quantlinear::cpu
