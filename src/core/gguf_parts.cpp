#include "quantlinear/gguf_parts.hpp"

#include <algorithm>
#include <new>
#include <string>

#include "core/printable.hpp"

namespace quantlinear {
namespace {

/// "F32 [4096, 32]"
std::string describe(const GgufTensorInfo& tensor) {
  std::string text;
  for (const std::uint64_t dim : tensor.dims) text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return tensor.type_name() + " [" + text + "]";
}

/// One value per row of `weight`: as a vector, or with the dimensions of its rows (stacked experts).
bool fits_rows(const GgufTensorInfo& bias, const GgufTensorInfo& weight) {
  if (bias.in_features() == weight.rows() && bias.rows() == 1) return true;
  for (std::size_t i = 0; i < GgufDims::max_rank; ++i) {
    if (bias.dims[i] != weight.dims[i + 1]) return false;  // dimensions past the last are 1
  }
  return true;
}

/// The bias that belongs to `weight`, or nothing.
Result<std::vector<float>> bias_of(const GgufFile& file, const GgufTensorInfo& weight) {
  constexpr std::string_view kWeight = ".weight";
  std::vector<float> bias;
  if (!weight.name.ends_with(kWeight)) return bias;
  const std::string name = weight.name.substr(0, weight.name.size() - kWeight.size()) + ".bias";
  if (!file.contains(name)) return bias;
  const Result<const GgufTensorInfo*> info = file.find(name);
  if (!info) return std::unexpected(info.error());
  const std::optional<GgufQuantType> kind = (*info)->kind();
  if (!kind || quant_type_info(*kind)->block_elements != 1 || !fits_rows(**info, weight)) {
    return fail(ErrorCode::invalid_argument, detail::printable(name) + ": found " + describe(**info) +
                                                 ", expected F32, F16 or BF16 [" + std::to_string(weight.rows()) +
                                                 "], a value for each row of " + detail::printable(weight.name));
  }
  const Result<QuantBytes> bytes = file.bytes(**info);
  if (!bytes) return std::unexpected(bytes.error());
  bias.resize(weight.rows());
  if (Status s = dequantize(*kind, bytes->bytes(), bias); !s) return std::unexpected(std::move(s.error()));
  return bias;
}

}  // namespace

Result<GgufParts> gguf_parts(const GgufFile& file, std::span<const std::string_view> names) try {
  if (names.empty()) return fail(ErrorCode::invalid_argument, "tensors: the list is empty, expected at least one name");
  GgufParts result;
  for (const std::string_view name : names) {
    const Result<const GgufTensorInfo*> info = file.find(name);
    if (!info) return std::unexpected(info.error());
    const GgufTensorInfo& tensor = **info;
    const std::optional<GgufQuantType> kind = tensor.kind();
    if (!kind) {
      return fail(ErrorCode::invalid_argument,
                  detail::printable(tensor.name) + ": found type " + tensor.type_name() + ", expected a weight type");
    }
    if (tensor.dims.size() == 0) {
      return fail(ErrorCode::invalid_argument, detail::printable(tensor.name) + ": found a scalar, expected a matrix");
    }
    if (!result.parts.empty() && tensor.in_features() != result.in_features) {
      return fail(ErrorCode::invalid_argument, detail::printable(tensor.name) + ": found rows of " +
                                                   std::to_string(tensor.in_features()) + ", expected " +
                                                   std::to_string(result.in_features) + " as in " +
                                                   detail::printable(names.front()));
    }
    result.in_features = tensor.in_features();
    Result<QuantBytes> bytes = file.bytes(tensor);
    if (!bytes) return std::unexpected(std::move(bytes.error()));
    Result<std::vector<float>> bias = bias_of(file, tensor);
    if (!bias) return std::unexpected(std::move(bias.error()));
    result.parts.push_back({*kind, std::move(*bytes), tensor.rows(), std::move(*bias)});
  }
  return result;
} catch (const std::bad_alloc&) {
  return out_of_memory("cannot allocate the list of ", names.size(), " tensors");
}

}  // namespace quantlinear
