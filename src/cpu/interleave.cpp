#include "cpu/interleave.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "core/huge_pages.hpp"

namespace quantlinear::cpu {
namespace {

/// Calls move(offset in the group, offset in the row, bytes) for every piece of row `row`.
template <class Move>
void for_each_piece(const InterleavedBlock& block, std::size_t row_bytes, std::size_t row, Move move) {
  const std::size_t blocks = row_bytes / block.bytes;
  const std::size_t apart = block.scale_apart() ? 2 : 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t in_row = b * block.bytes;
    if (apart != 0) move((b * kInterleavedRows + row) * 2, in_row + block.scale_at, 2);
    std::size_t to = blocks * kInterleavedRows * apart + b * kInterleavedRows * (block.bytes - apart) + 4 * row;
    for (std::size_t from = 0; from < block.bytes; from += 4, to += 4 * kInterleavedRows) {
      if (apart != 0 && from == block.scale_at) from += 2;
      if (from < block.bytes) move(to, in_row + from, 4);
    }
  }
}

/// Permutes one group of 16 rows from `source` to `target`, both 16 * row_bytes long.
void interleave_group(const InterleavedBlock& block, std::size_t row_bytes, const std::byte* source,
                      std::byte* target) {
  for (std::size_t row = 0; row < kInterleavedRows; ++row) {
    for_each_piece(block, row_bytes, row, [&](std::size_t in_group, std::size_t in_row, std::size_t bytes) {
      std::memcpy(target + in_group, source + row * row_bytes + in_row, bytes);
    });
  }
}

/// The bytes of row `row` (0 .. 15) of an interleaved group as they are in the file.
void extract_from_group(const InterleavedBlock& block, std::size_t row_bytes, const std::byte* group, std::size_t row,
                        std::byte* target) {
  for_each_piece(block, row_bytes, row, [&](std::size_t in_group, std::size_t in_row, std::size_t bytes) {
    std::memcpy(target + in_row, group + in_group, bytes);
  });
}

}  // namespace

Result<QuantBytes> interleave(const InterleavedRows& matrix, std::span<const std::byte> source, Executor& executor) {
  const std::shared_ptr<std::byte> memory = detail::allocate_in_huge_pages(source.size());
  if (memory == nullptr) {
    return out_of_memory("cannot allocate ", source.size(), " bytes of interleaved weights");
  }
  const std::size_t group_bytes = kInterleavedRows * matrix.row_bytes;
  const std::size_t groups = matrix.rows / kInterleavedRows;
  // Each task touches the rows first that its lane of a forward begins with (item_shares.hpp).
  const std::size_t tasks = std::min(groups, executor.concurrency());
  auto work = [&](std::size_t task) {
    for (std::size_t g = task * groups / tasks; g < (task + 1) * groups / tasks; ++g) {
      interleave_group(matrix.block, matrix.row_bytes, source.data() + g * group_bytes, memory.get() + g * group_bytes);
    }
  };
  executor.run(tasks, work);
  std::ranges::copy(source.subspan(groups * group_bytes), memory.get() + groups * group_bytes);
  return QuantBytes::share({memory.get(), source.size()}, memory, false);
}

void extract_row(const InterleavedRows& matrix, std::span<const std::byte> copy, std::size_t row, std::byte* target) {
  if (row >= interleaved_rows(matrix.rows)) {
    std::memcpy(target, copy.data() + row * matrix.row_bytes, matrix.row_bytes);
    return;
  }
  const std::size_t in_group = row % kInterleavedRows;
  extract_from_group(matrix.block, matrix.row_bytes, copy.data() + (row - in_group) * matrix.row_bytes, in_group,
                     target);
}

}  // namespace quantlinear::cpu
