// One file of a model, parsed, with its data mapped or read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gguf/file_map.hpp"
#include "gguf/layout.hpp"
#include "gguf/name_index.hpp"
#include "quantlinear/gguf.hpp"

namespace quantlinear::gguf {

struct Part {
  std::filesystem::path path;
  std::string label;         ///< the path as printed in messages
  std::uint64_t size = 0;    ///< of the file
  FileBytes data;            ///< covers at least the data section
  std::optional<File> file;  ///< kept open while the data is mapped, for check_unchanged
  Layout layout;
};

[[nodiscard]] Result<Part> open_part(const std::filesystem::path& path, GgufAccess access);
[[nodiscard]] Result<Part> parse_part(std::vector<std::byte> bytes, const std::string& label);

/// The whole model that `opened` belongs to: itself, or the split set, in order. Refuses sets that
/// are incomplete or contradict themselves. `reachable` is false for parts that are no files.
[[nodiscard]] Result<std::vector<Part>> complete_set(Part opened, GgufAccess access, bool reachable);

}  // namespace quantlinear::gguf

struct quantlinear::GgufFile::State {
  std::vector<gguf::Part> parts;  // their tensors have moved into `tensors`
  std::vector<std::filesystem::path> paths;
  std::vector<GgufTensorInfo> tensors;
  gguf::NameIndex names;
  std::uint64_t total_bytes = 0;
  std::uint64_t tensor_bytes = 0;

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const noexcept {
    return names.find(name, [this](std::uint32_t i) { return std::string_view(tensors[i].name); });
  }
};
