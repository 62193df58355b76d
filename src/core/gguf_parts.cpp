#include "quantlinear/gguf_parts.hpp"

#include <string>

namespace quantlinear {
namespace {

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
  if (!kind || quant_type_info(*kind)->block_elements != 1 || (*info)->in_features() != weight.rows() ||
      (*info)->rows() != 1) {
    return fail(ErrorCode::invalid_argument, name + ": found " + (*info)->type_name() + " [" +
                                                 std::to_string((*info)->in_features()) +
                                                 "], expected a float vector of " + std::to_string(weight.rows()) +
                                                 " values, the rows of " + weight.name);
  }
  const Result<QuantBytes> bytes = file.bytes(**info);
  if (!bytes) return std::unexpected(bytes.error());
  bias.resize(weight.rows());
  if (Status s = dequantize(*kind, bytes->bytes(), bias); !s) return std::unexpected(s.error());
  return bias;
}

}  // namespace

Result<GgufParts> gguf_parts(const GgufFile& file, std::span<const std::string_view> names) {
  if (names.empty()) return fail(ErrorCode::invalid_argument, "tensors: the list is empty, expected at least one name");
  GgufParts result;
  for (const std::string_view name : names) {
    const Result<const GgufTensorInfo*> info = file.find(name);
    if (!info) return std::unexpected(info.error());
    const GgufTensorInfo& tensor = **info;
    const std::optional<GgufQuantType> kind = tensor.kind();
    if (!kind) {
      return fail(ErrorCode::unsupported, tensor.name + ": type " + tensor.type_name() + " is no weight type");
    }
    if (tensor.dims.size() == 0) {
      return fail(ErrorCode::invalid_argument, tensor.name + ": a scalar, expected a matrix");
    }
    if (!result.parts.empty() && tensor.in_features() != result.in_features) {
      return fail(ErrorCode::invalid_argument, tensor.name + ": found rows of " + std::to_string(tensor.in_features()) +
                                                   ", expected " + std::to_string(result.in_features) + " as in " +
                                                   std::string(names.front()));
    }
    result.in_features = tensor.in_features();
    Result<QuantBytes> bytes = file.bytes(tensor);
    if (!bytes) return std::unexpected(bytes.error());
    Result<std::vector<float>> bias = bias_of(file, tensor);
    if (!bias) return std::unexpected(bias.error());
    result.parts.push_back({*kind, std::move(*bytes), tensor.rows(), std::move(*bias)});
  }
  return result;
}

}  // namespace quantlinear
