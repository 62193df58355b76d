// From tensor names of an open file to the parts of a layer.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "quantlinear/backend.hpp"
#include "quantlinear/gguf.hpp"

namespace quantlinear {

/// Parts that share one input.
struct GgufParts {
  std::vector<QuantPart> parts;
  std::uint64_t in_features = 0;
};

/// The weight tensors `names` of `file`, in order, as parts of a fused layer. Tensors of more than two
/// dimensions count as rows of dims[0]. A tensor "X.weight" brings its bias along if the file holds
/// "X.bias": F32, F16 or BF16, one value per row (a vector, or the dimensions of the weight without
/// the first). The bytes share the file's memory.
/// Errors: not_found; invalid_argument if the list is empty, a tensor is no weight type, the rows
/// differ in length, or a bias is of another type or shape; out_of_memory.
[[nodiscard]] Result<GgufParts> gguf_parts(const GgufFile& file, std::span<const std::string_view> names);

}  // namespace quantlinear
