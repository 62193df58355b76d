// The header from first to last byte: magic, version, counts, metadata, tensor list; then where the
// tensors lie. Data flows one way: bytes -> Cursor -> Layout.
#include <algorithm>
#include <bit>
#include <numeric>
#include <string>
#include <utility>

#include "gguf/cursor.hpp"
#include "gguf/layout.hpp"
#include "gguf/magic.hpp"
#include "gguf/metadata.hpp"
#include "gguf/tensor_types.hpp"

namespace quantlinear::gguf {
namespace {

// The text of the format says 64 bytes and ggml builds differ (63, 127); the limit of keys is
// enough to keep a name from being absurd.
constexpr std::uint64_t longest_tensor_name = longest_key;
constexpr std::uint64_t least_tensor_record = 8 + 1 + 4 + 4 + 8;  // one character of name, no dimensions

Text name_of_record(const Cursor& cursor, std::uint32_t start) {
  return {std::uint64_t{start} + 8, load<std::uint64_t>(cursor.at(start))};
}

// Refuses the offset of tensor `i`, whose record (already taken) begins at `start`.
void refuse_offset(Cursor& cursor, std::uint64_t i, std::uint32_t start, const std::string& found) {
  const Text name = name_of_record(cursor, start);
  const std::uint64_t rank_at = name.at + name.size;
  const std::uint64_t offset_at = rank_at + 4 + std::uint64_t{8} * load<std::uint32_t>(cursor.at(rank_at)) + 4;
  cursor.refuse(ErrorCode::malformed_file, offset_at, {"tensor offset", i, name}, found);
}

void take_alignment(Cursor& cursor, const GgufMetadata::State& metadata, std::uint32_t& alignment) {
  const auto index = metadata.index.find(alignment_key, [&](std::uint32_t i) { return metadata.key(i); });
  if (!index) return;
  const Record record = record_at(metadata.header, metadata.records[*index]);
  const Field field{"value", *index, record.key};
  if (record.type != GgufValueType::u32) {
    return cursor.refuse(ErrorCode::malformed_file, record.value_at, field,
                         "found " + std::string(to_string(record.type)) + ", the alignment must be u32");
  }
  const auto value = load<std::uint32_t>(metadata.header + record.value_at);
  if (!is_alignment(value)) {
    return cursor.refuse(
        ErrorCode::malformed_file, record.value_at, field,
        "found " + std::to_string(value) + ", expected a power of two up to " + std::to_string(largest_alignment));
  }
  alignment = value;
}

GgufDims take_dims(Cursor& cursor, std::uint64_t tensor, const Text& name) {
  const std::uint64_t rank_at = cursor.position();
  const Field rank_field{"n_dims", tensor, name};
  const auto rank = cursor.take<std::uint32_t>(rank_field);
  if (rank > GgufDims::max_rank) {
    cursor.refuse(ErrorCode::malformed_file, rank_at, rank_field,
                  "found " + std::to_string(rank) + ", expected at most " + std::to_string(GgufDims::max_rank));
    return {};
  }
  std::array<std::uint64_t, GgufDims::max_rank> dims{};
  for (std::uint32_t i = 0; i < rank; ++i) dims[i] = cursor.take<std::uint64_t>({"dims", tensor, name});
  return GgufDims(std::span(dims).first(rank));
}

// One record of the tensor list. `offset` is still relative to the data section.
GgufTensorInfo take_tensor(Cursor& cursor, std::uint64_t i) {
  const Text name = cursor.take_text({"tensor name length", i}, longest_tensor_name);
  if (cursor.ok() && name.size == 0) {  // also what zero padding looks like when n_tensors is too large
    cursor.refuse(ErrorCode::malformed_file, cursor.position() - 8, {"tensor name length", i},
                  "found 0, a name must not be empty");
  }
  const GgufDims dims = take_dims(cursor, i, name);
  const std::uint64_t type_at = cursor.position();
  const Field type_field{"tensor type", i, name};
  const auto type_id = cursor.take<std::uint32_t>(type_field);
  if (!cursor.ok()) return {};
  const auto type = tensor_type(type_id);
  if (!type) {
    cursor.refuse(ErrorCode::unsupported, type_at, type_field,
                  "found " + std::to_string(type_id) + ", " + describe_unknown_type(type_id));
    return {};
  }
  const auto bytes = tensor_bytes(*type, dims);
  if (!bytes) {
    const std::size_t dim = bytes.error().dim;
    const std::uint64_t dim_at = type_at - 8 * (dims.size() - dim);
    cursor.refuse(ErrorCode::malformed_file, dims.size() == 0 ? type_at : dim_at,
                  {"dims[" + std::to_string(dim) + "]", i, name},
                  "found " + std::to_string(dims[dim]) + ", " + bytes.error().why);
    return {};
  }
  const auto offset = cursor.take<std::uint64_t>({"tensor offset", i, name});
  if (!cursor.ok()) return {};
  return {std::string(cursor.characters(name)), type_id, 0, dims, *bytes, offset};
}

// First pass over the tensor list: that all of it is there. Positions of the records go to `starts`.
void find_tensors(Cursor& cursor, std::uint64_t count, std::vector<std::uint32_t>& starts) {
  for (std::uint64_t i = 0; i < count && cursor.ok(); ++i) {
    starts.push_back(static_cast<std::uint32_t>(cursor.position()));  // < largest_header
    const Text name = cursor.take_text({"tensor name length", i}, longest_tensor_name);
    (void)take_dims(cursor, i, name);
    cursor.skip(sizeof(std::uint32_t), {"tensor type", i, name});
    cursor.skip(sizeof(std::uint64_t), {"tensor offset", i, name});
  }
}

// Second pass: what the records say. By now their number is no mere claim, and room for all infos,
// by far the largest thing that is allocated, can be made at once.
void take_tensors(Cursor& cursor, const std::vector<std::uint32_t>& starts, Layout& layout) {
  if (!cursor.ok() || starts.empty()) return;
  cursor.go_back(starts.front());
  layout.tensors.reserve(starts.size());
  const auto name_of = [&](std::uint32_t i) { return std::string_view(layout.tensors[i].name); };
  for (std::size_t i = 0; i < starts.size(); ++i) {
    GgufTensorInfo info = take_tensor(cursor, i);
    if (!cursor.ok()) return;
    layout.tensors.push_back(std::move(info));
    if (const auto earlier = layout.names.insert(layout.tensors.back().name, name_of)) {
      return cursor.refuse(
          ErrorCode::malformed_file, starts[i], {"tensor name", i, name_of_record(cursor, starts[i])},
          "found a second time, first as tensor " + std::to_string(*earlier) + ", names must be unique");
    }
  }
}

// Turns relative offsets into positions in the file; each tensor must be aligned and lie inside.
// Gaps and any order are fine.
void place_tensors(Cursor& cursor, std::uint64_t file_size, Layout& layout, const std::vector<std::uint32_t>& starts) {
  // Without data there may be no padding either, and the section then begins past the end.
  const std::uint64_t aligned = align_up(cursor.position(), layout.alignment);
  layout.data_start = std::min(aligned, file_size);
  const std::uint64_t data_size = file_size - layout.data_start;
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    GgufTensorInfo& tensor = layout.tensors[i];
    if (tensor.offset % layout.alignment != 0) {
      return refuse_offset(cursor, i, starts[i],
                           "found " + std::to_string(tensor.offset) + ", expected a multiple of the alignment " +
                               std::to_string(layout.alignment));
    }
    if (tensor.offset > data_size || tensor.bytes > data_size - tensor.offset) {
      return refuse_offset(cursor, i, starts[i],
                           "found " + std::to_string(tensor.offset) + " for " + std::to_string(tensor.bytes) +
                               " bytes of data, the file has " + std::to_string(data_size) +
                               " bytes of data from byte " + std::to_string(aligned));
    }
    tensor.offset += layout.data_start;
  }
}

// Tensors may share exactly the same bytes (tied weights); any other overlap is a broken offset.
void refuse_overlap(Cursor& cursor, const Layout& layout, const std::vector<std::uint32_t>& starts) {
  const auto& tensors = layout.tensors;
  std::vector<std::uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  std::erase_if(order, [&](std::uint32_t i) { return tensors[i].bytes == 0; });
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(tensors[a].offset, tensors[a].bytes) < std::pair(tensors[b].offset, tensors[b].bytes);
  };
  if (!std::ranges::is_sorted(order, before)) std::ranges::sort(order, before);
  // As long as nothing overlaps, the previous tensor in this order ends last.
  for (std::size_t i = 1; i < order.size(); ++i) {
    const GgufTensorInfo& first = tensors[order[i - 1]];
    const GgufTensorInfo& second = tensors[order[i]];
    const bool same = first.offset == second.offset && first.bytes == second.bytes;
    if (same || first.bytes <= second.offset - first.offset) continue;
    return refuse_offset(cursor, order[i], starts[order[i]],
                         "found " + std::to_string(second.offset - layout.data_start) + ", overlaps the " +
                             std::to_string(first.bytes) + " bytes of tensor " + std::to_string(order[i - 1]) + ", " +
                             printable(first.name) + ", at " + std::to_string(first.offset - layout.data_start));
  }
}

}  // namespace

Result<Layout> read_layout(HeaderBytes bytes, std::string_view file) {
  Cursor cursor(bytes, file);
  Layout layout;
  auto metadata = std::make_shared<GgufMetadata::State>();
  std::vector<std::uint32_t> starts;

  layout.version = take_magic_and_version(cursor);
  const std::uint64_t tensor_count = cursor.take_count({"n_tensors"}, least_tensor_record);
  const std::uint64_t key_count = cursor.take_count({"n_kv"}, least_key_record);
  take_metadata(cursor, key_count, metadata->records, metadata->index);
  if (!cursor.ok()) return cursor.error();
  metadata->header = cursor.at(0);  // for now: the header may still move
  take_alignment(cursor, *metadata, layout.alignment);
  layout.tensor_list = cursor.position();
  find_tensors(cursor, tensor_count, starts);
  take_tensors(cursor, starts, layout);
  if (cursor.ok()) place_tensors(cursor, bytes.file_size(), layout, starts);
  if (cursor.ok()) refuse_overlap(cursor, layout, starts);
  if (!cursor.ok()) return cursor.error();

  auto [header, keeper] = bytes.keep(cursor.position());
  metadata->header = header;
  metadata->keeper = std::move(keeper);
  metadata->file = file;
  layout.metadata = GgufMetadata(std::move(metadata));
  return layout;
}

}  // namespace quantlinear::gguf
