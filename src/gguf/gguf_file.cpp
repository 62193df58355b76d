// GgufFile: opens the parts, joins them to one list of tensors, and hands out their bytes.
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "gguf/message.hpp"
#include "gguf/part.hpp"
#include "gguf/tensor_types.hpp"

namespace quantlinear {
namespace gguf {

Result<Part> open_part(const std::filesystem::path& path, GgufAccess access) {
  auto opened = File::open(path);
  if (!opened) return std::unexpected(std::move(opened).error());
  Part part{path, opened->label(), opened->size(), {}, std::move(*opened), {}};
  auto layout = read_layout(HeaderBytes(*part.file), part.label);
  if (!layout) return std::unexpected(std::move(layout).error());
  part.layout = std::move(*layout);
  auto data = access == GgufAccess::map ? part.file->map() : part.file->read_from(part.layout.data_start);
  if (!data) return std::unexpected(std::move(data).error());
  part.data = std::move(*data);
  // The header has been checked against the size at the start; it must still be the same file now.
  if (auto same = part.file->check_unchanged(); !same) return std::unexpected(std::move(same).error());
  if (access == GgufAccess::read) part.file.reset();
  return part;
}

Result<Part> parse_part(std::vector<std::byte> bytes, const std::string& label) {
  auto keeper = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  Part part{label, printable(label, label.size()), keeper->size(), {}, {}, {}};
  part.data = {*keeper, 0, false, keeper};
  auto layout = read_layout(HeaderBytes(*keeper, keeper), part.label);
  if (!layout) return std::unexpected(std::move(layout).error());
  part.layout = std::move(*layout);
  return part;
}

namespace {

Result<std::shared_ptr<const GgufFile::State>> join(std::vector<Part> parts) {
  auto state = std::make_shared<GgufFile::State>();
  state->parts = std::move(parts);
  for (std::uint32_t p = 0; p < state->parts.size(); ++p) {
    Part& part = state->parts[p];
    state->paths.push_back(part.path);
    state->total_bytes += part.size;
    if (p == 0) {
      state->tensors = std::move(part.layout.tensors);
      state->names = std::move(part.layout.names);
      continue;
    }
    const auto name_of = [&](std::uint32_t i) { return std::string_view(state->tensors[i].name); };
    std::uint64_t at = part.layout.tensor_list;
    for (std::size_t i = 0; i < part.layout.tensors.size(); ++i) {
      GgufTensorInfo& tensor = state->tensors.emplace_back(std::move(part.layout.tensors[i]));
      tensor.part = p;
      if (const auto earlier = state->names.insert(tensor.name, name_of)) {
        return fail(ErrorCode::malformed_file,
                    part.label + ": tensor name (" + std::to_string(i) + ", " + printable(tensor.name) + ") at byte " +
                        std::to_string(at) + ": found in this part and in " +
                        state->parts[state->tensors[*earlier].part].label + ", names must be unique",
                    at);
      }
      at += record_bytes(tensor);
    }
    part.layout.tensors = {};
  }
  // Each tensor lies inside its file, but tensors may share bytes: this sum may pass 64 bits.
  for (const GgufTensorInfo& tensor : state->tensors) {
    const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - state->tensor_bytes;
    state->tensor_bytes += std::min(tensor.bytes, room);
  }
  return state;
}

Result<GgufFile> finish(Result<Part> part, GgufAccess access, bool reachable) {
  if (!part) return std::unexpected(std::move(part).error());
  auto parts = complete_set(std::move(*part), access, reachable);
  if (!parts) return std::unexpected(std::move(parts).error());
  auto state = join(std::move(*parts));
  if (!state) return std::unexpected(std::move(state).error());
  return GgufFile(std::move(*state));
}

}  // namespace
}  // namespace gguf

Result<GgufFile> GgufFile::open(const std::filesystem::path& path, GgufOpenOptions options) {
  return gguf::guarded("GGUF file",
                       [&] { return gguf::finish(gguf::open_part(path, options.access), options.access, true); });
}

Result<GgufFile> GgufFile::parse(std::vector<std::byte> bytes, const std::string& label) {
  return gguf::guarded(
      "GGUF bytes", [&] { return gguf::finish(gguf::parse_part(std::move(bytes), label), GgufAccess::read, false); });
}

std::uint32_t GgufFile::version() const noexcept { return state_->parts.front().layout.version; }
std::uint32_t GgufFile::alignment() const noexcept { return state_->parts.front().layout.alignment; }
GgufMetadata GgufFile::metadata() const noexcept { return state_->parts.front().layout.metadata; }
std::span<const GgufTensorInfo> GgufFile::tensors() const noexcept { return state_->tensors; }
std::span<const std::filesystem::path> GgufFile::parts() const noexcept { return state_->paths; }
std::uint64_t GgufFile::total_bytes() const noexcept { return state_->total_bytes; }
std::uint64_t GgufFile::tensor_bytes() const noexcept { return state_->tensor_bytes; }
bool GgufFile::contains(std::string_view name) const noexcept { return state_->find(name).has_value(); }

Result<const GgufTensorInfo*> GgufFile::find(std::string_view name) const {
  if (const auto index = state_->find(name)) return &state_->tensors[*index];
  return gguf::guarded("GGUF tensor", [&]() -> Result<const GgufTensorInfo*> {
    const auto name_of = [&](std::size_t i) { return std::string_view(state_->tensors[i].name); };
    return fail(ErrorCode::not_found, state_->parts.front().label + ": tensor \"" + gguf::printable(name) +
                                          "\" does not exist" +
                                          gguf::nearest_names(name, state_->tensors.size(), name_of));
  });
}

Result<QuantBytes> GgufFile::bytes(std::string_view name) const {
  const auto info = find(name);
  if (!info) return std::unexpected(info.error());
  return bytes(**info);
}

Result<QuantBytes> GgufFile::bytes(const GgufTensorInfo& info) const {
  // `info` may come from another file, or from nowhere.
  if (info.part >= state_->parts.size() || info.offset > state_->parts[info.part].size ||
      info.bytes > state_->parts[info.part].size - info.offset ||
      (info.bytes != 0 && info.offset < state_->parts[info.part].data.first)) {
    return gguf::guarded("GGUF tensor", [&]() -> Result<QuantBytes> {
      return fail(ErrorCode::invalid_argument, state_->parts.front().label + ": tensor " + gguf::printable(info.name) +
                                                   ": " + std::to_string(info.bytes) + " bytes at byte " +
                                                   std::to_string(info.offset) + " of part " +
                                                   std::to_string(info.part) + " are not inside this file");
    });
  }
  const gguf::FileBytes& data = state_->parts[info.part].data;
  if (info.bytes == 0) return QuantBytes::share({}, data.keeper, data.mapped);
  const std::span<const std::byte> span =
      data.bytes.subspan(static_cast<std::size_t>(info.offset - data.first), static_cast<std::size_t>(info.bytes));
  return QuantBytes::share(span, data.keeper, data.mapped);
}

Status GgufFile::check_unchanged() const {
  return gguf::guarded("GGUF file", [&]() -> Status {
    for (const gguf::Part& part : state_->parts) {
      if (!part.file) continue;
      if (auto same = part.file->check_unchanged(); !same) return same;
    }
    return {};
  });
}

std::string GgufTensorInfo::type_name() const {
  const auto type = gguf::tensor_type(type_id);
  return std::string(type ? type->name : "unknown");
}

}  // namespace quantlinear
