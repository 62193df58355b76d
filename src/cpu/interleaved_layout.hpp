// The interleaved layout of a weight matrix: 16 rows side by side, four bytes at a time, so that a register holds the
// same bytes of 8 or 16 rows. A permutation of the file's bytes: nothing is added, and the inverse gives the file back.
//
// Rows are taken in groups of 16; those after the last whole group stay as they are. Of a group, with n blocks a row:
//   formats with a block of 4i + 2 bytes: the half scales, [n][16 rows] of 2 bytes, then the other bytes as dwords
//   others                                all bytes as dwords
//   dwords                                [n][dword of the block][16 rows]
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantlinear::cpu {

inline constexpr std::size_t kInterleavedRows = 16;

/// What the layout needs to know of a format.
struct InterleavedBlock {
  std::size_t bytes = 0;     ///< of a block
  std::size_t scale_at = 0;  ///< byte offset of its half scale, which stands apart where bytes is no multiple of 4

  [[nodiscard]] constexpr bool scale_apart() const { return bytes % 4 != 0; }
};

/// Rows that are interleaved; the rest is as in the file.
constexpr std::size_t interleaved_rows(std::size_t rows) { return rows / kInterleavedRows * kInterleavedRows; }

}  // namespace quantlinear::cpu
