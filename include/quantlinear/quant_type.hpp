// The weight types of GGUF: what a block is, how large it is, and what it means in f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "quantlinear/error.hpp"

namespace quantlinear {

/// Discriminator of the block format. The values are the tensor type ids of GGUF.
enum class GgufQuantType : std::uint32_t {
#define QL_QUANT_TYPE(name, file, id) name = id,
#include "quantlinear/quant_types.def"
#undef QL_QUANT_TYPE
};

/// A row of weights is a whole number of blocks; a block is `block_elements` weights in
/// `block_bytes` bytes. Float types have blocks of one element.
struct QuantTypeInfo {
  GgufQuantType type;
  std::string_view name;  ///< as GGUF spells it: "Q4_K"
  std::uint32_t block_elements;
  std::uint32_t block_bytes;
  [[nodiscard]] constexpr double bits_per_weight() const noexcept { return 8.0 * block_bytes / block_elements; }
};

/// All types, in the order of quant_types.def. Static storage.
[[nodiscard]] std::span<const QuantTypeInfo> quant_types() noexcept;

/// The entry of one type, or nullptr if `type` is no value of the enumeration.
[[nodiscard]] const QuantTypeInfo* quant_type_info(GgufQuantType type) noexcept;

/// "Q4_K"; "unknown" for a value outside the enumeration.
[[nodiscard]] std::string_view to_string(GgufQuantType type) noexcept;

/// Finds a type by name, ignoring case ("q4_k"); by GGUF tensor type id for the second.
[[nodiscard]] std::optional<GgufQuantType> quant_type_from_name(std::string_view name) noexcept;
[[nodiscard]] std::optional<GgufQuantType> quant_type_from_id(std::uint32_t id) noexcept;

/// Bytes of one row of `in_features` weights. Error if `in_features` is not a multiple of the
/// block length or the product overflows 64 bits. 0 columns are 0 bytes.
[[nodiscard]] Result<std::uint64_t> row_bytes(GgufQuantType type, std::uint64_t in_features);

/// Bytes of a matrix of `out_features` rows of `in_features` weights; checked as row_bytes.
[[nodiscard]] Result<std::uint64_t> matrix_bytes(GgufQuantType type, std::uint64_t out_features,
                                                 std::uint64_t in_features);

/// Decodes whole blocks to f32, bit-identical to the definition of the format (ggml's scalar
/// decoder). `blocks.size()` must be a multiple of the block's bytes and `out.size()` the number of
/// elements that these blocks hold; else invalid_argument and nothing is written. Thread-safe.
[[nodiscard]] Status dequantize(GgufQuantType type, std::span<const std::byte> blocks, std::span<float> out);

/// Index of the first block that decodes to a NaN or an infinity (a broken scale), if any.
/// `blocks.size()` is checked as in dequantize.
[[nodiscard]] Result<std::optional<std::uint64_t>> find_non_finite_block(GgufQuantType type,
                                                                         std::span<const std::byte> blocks);

}  // namespace quantlinear
