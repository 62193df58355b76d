#include "gguf/tensor_types.hpp"

#include <array>
#include <limits>
#include <utility>

namespace quantlinear::gguf {
namespace {

struct NamedId {
  std::uint32_t id;
  TensorType type;
};

// Q8_1 and Q8_K are activation formats, the others plain numbers; files may hold them all the same.
constexpr std::array<NamedId, 7> types_that_are_no_weights{{
    {9, {"Q8_1", 32, 36}},
    {15, {"Q8_K", 256, 292}},
    {24, {"I8", 1, 1}},
    {25, {"I16", 1, 2}},
    {26, {"I32", 1, 4}},
    {27, {"I64", 1, 8}},
    {28, {"F64", 1, 8}},
}};

// Ids that once were types. Their block sizes are gone, so tensors of them cannot be measured.
constexpr std::array<std::pair<std::uint32_t, std::string_view>, 8> removed_types{{
    {4, "Q4_2"},
    {5, "Q4_3"},
    {31, "Q4_0_4_4"},
    {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"},
    {36, "IQ4_NL_4_4"},
    {37, "IQ4_NL_4_8"},
    {38, "IQ4_NL_8_8"},
}};

// ggml keeps dimensions in signed 64 bits.
constexpr std::uint64_t largest_dim = std::numeric_limits<std::int64_t>::max();

}  // namespace

std::optional<TensorType> tensor_type(std::uint32_t id) noexcept {
  if (const auto quant = quant_type_from_id(id)) {
    const QuantTypeInfo& info = *quant_type_info(*quant);
    return TensorType{info.name, info.block_elements, info.block_bytes};
  }
  for (const NamedId& other : types_that_are_no_weights) {
    if (other.id == id) return other.type;
  }
  return std::nullopt;
}

std::string describe_unknown_type(std::uint32_t id) {
  for (const auto& [removed, name] : removed_types) {
    if (removed == id) return "the type " + std::string(name) + ", which GGUF has removed";
  }
  return "not the id of a tensor type this reader knows";
}

std::expected<std::uint64_t, SizeProblem> tensor_bytes(const TensorType& type, const GgufDims& dims) {
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] > largest_dim) {
      return std::unexpected(SizeProblem{i, "a negative or absurd dimension, expected at most 2^63-1"});
    }
  }
  if (dims[0] % type.block_elements != 0) {
    return std::unexpected(SizeProblem{0, "a row of " + std::string(type.name) + " must be whole blocks of " +
                                              std::to_string(type.block_elements) + " elements"});
  }
  // Each product is checked by division before it is made; block_bytes and dims > 0 where divided by.
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t blocks = dims[0] / type.block_elements;
  if (blocks > most / type.block_bytes) {
    return std::unexpected(SizeProblem{0, "a row of more than 2^64-1 bytes"});
  }
  const std::uint64_t row_bytes = blocks * type.block_bytes;
  if (dims[1] == 0 || dims[2] == 0 || dims[3] == 0) return 0;
  std::uint64_t rows = 1;
  for (std::size_t i = 1; i < dims.size(); ++i) {
    if (dims[i] > most / rows) return std::unexpected(SizeProblem{i, "more than 2^64-1 rows"});
    rows *= dims[i];
    if (row_bytes > most / rows) {
      return std::unexpected(SizeProblem{i, "a tensor of more than 2^64-1 bytes"});
    }
  }
  return rows * row_bytes;
}

}  // namespace quantlinear::gguf
