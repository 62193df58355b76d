// One GGUF file as its header describes it, every claim checked against the size of the file.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gguf/header_bytes.hpp"
#include "gguf/name_index.hpp"
#include "quantlinear/gguf.hpp"

namespace quantlinear::gguf {

struct Layout {
  std::uint32_t version = 0;
  std::uint32_t alignment = 32;   ///< of tensor data, in bytes
  std::uint64_t tensor_list = 0;  ///< where the records of the tensors begin
  std::uint64_t data_start = 0;   ///< <= size of the file
  GgufMetadata metadata;
  std::vector<GgufTensorInfo> tensors;  ///< part is 0
  NameIndex names;                      ///< of tensors
};

/// How many bytes the record of a tensor takes in the header.
[[nodiscard]] inline std::uint64_t record_bytes(const GgufTensorInfo& tensor) noexcept {
  return 8 + tensor.name.size() + 4 + 8 * tensor.dims.size() + 4 + 8;
}

/// Parses and checks the header of `file` (its name for messages). Reads nothing of the data.
/// May throw std::bad_alloc.
[[nodiscard]] Result<Layout> read_layout(HeaderBytes bytes, std::string_view file);

inline constexpr std::string_view alignment_key = "general.alignment";
inline constexpr std::uint32_t default_alignment = 32;  ///< without that key
inline constexpr std::uint32_t largest_alignment = 1u << 20;
[[nodiscard]] constexpr bool is_alignment(std::uint64_t value) noexcept {
  return value != 0 && value <= largest_alignment && (value & (value - 1)) == 0;
}

/// `position` rounded up; position <= 2^63 and a valid alignment.
[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t position, std::uint32_t alignment) noexcept {
  return (position + (alignment - 1)) & ~std::uint64_t{alignment - 1};
}

}  // namespace quantlinear::gguf
