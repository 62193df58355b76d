#include "model.hpp"

#include <fmt/format.h>

#include "text.hpp"

namespace qlinear {

using quantlinear::ErrorCode;
using quantlinear::fail;
using quantlinear::GgufFile;
using quantlinear::GgufTensorInfo;
using quantlinear::QuantPart;
using quantlinear::Result;

Result<quantlinear::AnyBackend> make_backend(const DeviceOptions& options) {
  quantlinear::CpuOptions cpu;
  cpu.threads.threads = static_cast<std::size_t>(options.threads);
  cpu.instruction_set = options.isa;
  return quantlinear::make_backend(options.backend, cpu);
}

bool is_matrix(const GgufTensorInfo& tensor) { return tensor.kind().has_value() && tensor.dims.size() >= 2; }

Result<std::vector<const GgufTensorInfo*>> find_tensors(const GgufFile& file, std::span<const std::string> names) {
  std::vector<const GgufTensorInfo*> found;
  for (const std::string& name : names) {
    const auto tensor = file.find(name);
    if (!tensor) return std::unexpected(tensor.error());
    found.push_back(*tensor);
  }
  if (names.empty()) {
    for (const GgufTensorInfo& tensor : file.tensors()) found.push_back(&tensor);
  }
  return found;
}

Result<QuantPart> part_of(const GgufFile& file, const GgufTensorInfo& tensor) {
  const auto kind = tensor.kind();
  if (!kind) {
    return fail(ErrorCode::unsupported,
                fmt::format("tensor {}: {} is no weight type", quoted(tensor.name, 80), tensor.type_name()));
  }
  auto bytes = file.bytes(tensor);
  if (!bytes) return std::unexpected(bytes.error());
  return QuantPart{*kind, std::move(*bytes), tensor.rows(), {}};
}

Result<quantlinear::GgufParts> parts_of(const GgufFile& file, std::string_view names) {
  const std::vector<std::string> list = split_list(names);
  const std::vector<std::string_view> views(list.begin(), list.end());
  return quantlinear::gguf_parts(file, views);
}

std::string shape_text(const GgufTensorInfo& tensor) {
  std::string text;
  for (std::size_t i = tensor.dims.size(); i-- > 0;) {
    text += std::to_string(tensor.dims[i]);
    if (i > 0) text += " x ";
  }
  return text.empty() ? "scalar" : text;
}

Json shape_json(const GgufTensorInfo& tensor) {
  Json shape = Json::array();
  for (std::size_t i = tensor.dims.size(); i-- > 0;) shape.push_back(tensor.dims[i]);
  return shape;
}

std::uint64_t weights_of(const GgufTensorInfo& tensor) { return tensor.in_features() * tensor.rows(); }

std::string memory_text(const quantlinear::MemoryUse& memory) {
  return fmt::format("{} resident, {} shared with the file, {} transient", human_bytes(memory.resident_bytes),
                     human_bytes(memory.shared_bytes), human_bytes(memory.transient_bytes));
}

Json memory_json(const quantlinear::MemoryUse& memory) {
  return {{"resident_bytes", memory.resident_bytes},
          {"shared_bytes", memory.shared_bytes},
          {"transient_bytes", memory.transient_bytes}};
}

}  // namespace qlinear
