// What the GGUF weight types mean, written a second time: one weight at a time, in double precision,
// from the descriptions of the formats alone. Shares no code with the library, only the code-book
// values of src/formats/tables/*.tsv, which it reads when it first needs them. Slow and simple on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace reference {

/// The weights of whole blocks of the type with this GGUF tensor type id, in order. Exact: no finite
/// weight of any type needs more than 53 bits. Throws std::invalid_argument for an unknown id or a
/// part of a block.
[[nodiscard]] std::vector<double> decode(std::uint32_t ggml_type_id, std::span<const std::byte> blocks);

/// y [m, rows] = x [m, columns] * w [rows, columns] transposed: each a sum in the order of the columns.
/// Throws std::invalid_argument if a size does not fit.
[[nodiscard]] std::vector<double> matmul(std::span<const double> w, std::size_t rows, std::size_t columns,
                                         std::span<const float> x, std::size_t m);

}  // namespace reference
