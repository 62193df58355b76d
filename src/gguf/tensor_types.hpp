// Sizes of every tensor type that GGUF knows: the weight types, and the legal types that are none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quantlinear/gguf.hpp"

namespace quantlinear::gguf {

struct TensorType {
  std::string_view name;
  std::uint32_t block_elements;
  std::uint32_t block_bytes;
};

/// The type of that id; empty for unknown and removed ids.
[[nodiscard]] std::optional<TensorType> tensor_type(std::uint32_t id) noexcept;

/// What to say of an id that tensor_type does not know: "an unknown type, ..." or, for a type that
/// GGUF once had, "the removed type Q4_2".
[[nodiscard]] std::string describe_unknown_type(std::uint32_t id);

/// Bytes of a tensor of `dims`. The string of the error says what is wrong, and in which dimension:
/// a row of partial blocks, or a size past 64 bits.
struct SizeProblem {
  std::size_t dim;  ///< index of the dimension that breaks the rule
  std::string why;
};
[[nodiscard]] std::expected<std::uint64_t, SizeProblem> tensor_bytes(const TensorType& type, const GgufDims& dims);

}  // namespace quantlinear::gguf
