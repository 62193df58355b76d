// Models and layers as the commands see them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "options.hpp"
#include "quantlinear/any_backend.hpp"
#include "quantlinear/gguf.hpp"
#include "quantlinear/linear.hpp"

namespace qlinear {

using Layer = quantlinear::QuantLinear<quantlinear::AnyBackend>;

/// The backend that the options name. Error: this machine cannot run the instruction set.
[[nodiscard]] quantlinear::Result<quantlinear::AnyBackend> make_backend(const DeviceOptions& options);

/// A weight matrix: a known weight type, at least two dimensions. Stacked experts count as one tall
/// matrix, since every row is a row of weights over the same inputs.
[[nodiscard]] bool is_matrix(const quantlinear::GgufTensorInfo& tensor);

/// The tensors of these names, or all tensors if there are none. Error not_found with near names.
[[nodiscard]] quantlinear::Result<std::vector<const quantlinear::GgufTensorInfo*>> find_tensors(
    const quantlinear::GgufFile& file, std::span<const std::string> names);

/// A matrix as part of a layer, without bias. Error if the tensor is no matrix.
[[nodiscard]] quantlinear::Result<quantlinear::QuantPart> part_of(const quantlinear::GgufFile& file,
                                                                  const quantlinear::GgufTensorInfo& tensor);

/// The parts of the layer "A,B,C": one tensor, or several fused; biases come along.
[[nodiscard]] quantlinear::Result<quantlinear::GgufParts> parts_of(const quantlinear::GgufFile& file,
                                                                   std::string_view names);

/// "2048 x 640": rows first, as the layer counts (the file has them the other way round).
[[nodiscard]] std::string shape_text(const quantlinear::GgufTensorInfo& tensor);

/// Rows first, e.g. [2048, 640].
[[nodiscard]] Json shape_json(const quantlinear::GgufTensorInfo& tensor);

/// Number of weights.
[[nodiscard]] std::uint64_t weights_of(const quantlinear::GgufTensorInfo& tensor);

/// Memory use in words and as JSON.
[[nodiscard]] std::string memory_text(const quantlinear::MemoryUse& memory);
[[nodiscard]] Json memory_json(const quantlinear::MemoryUse& memory);

}  // namespace qlinear
