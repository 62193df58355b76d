// Any bytes as a GGUF file: they are refused with a place and a reason, or everything in them can be
// read, decoded, written again and read back the same. An abort here is a broken promise of gguf.hpp.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "quantlinear/gguf.hpp"
#include "quantlinear/gguf_writer.hpp"
#include "quantlinear/quant_type.hpp"

namespace {

using namespace quantlinear;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void check_refusal(const Error& error, std::size_t size) {
  require(error.message.starts_with("fuzz: "), "the message begins with the name of the file");
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  require(std::ranges::none_of(error.message, control), "the message is one line");
  require(error.message.size() < 1000, "the message is short");
  require(!error.byte_offset || *error.byte_offset <= size, "the place is inside the file");
  require(error.code == ErrorCode::malformed_file || error.code == ErrorCode::unsupported, "the file is to blame");
}

void read_metadata(const GgufMetadata& metadata) {
  for (const GgufEntry& entry : metadata) {
    const auto value = entry.value();
    require(value && type_of(*value) == entry.type, "every value decodes to its type");
    const auto found = metadata.find(entry.key);
    require(found && found->encoded == entry.encoded, "every key is found");
    (void)metadata.get<std::string_view>(entry.key);
    (void)metadata.get<std::vector<std::string_view>>(entry.key);
    (void)metadata.get<std::vector<float>>(entry.key);
  }
}

// Reads all bytes, and decodes the first blocks of weights.
void read_tensor(const GgufFile& file, const GgufTensorInfo& tensor) {
  const auto found = file.find(tensor.name);
  require(found && *found == &tensor, "every tensor is found");
  const auto data = file.bytes(tensor);
  require(data && data->size() == tensor.bytes, "every tensor has its bytes");
  unsigned sum = 0;
  for (const std::byte byte : data->bytes()) sum += std::to_integer<unsigned>(byte);
  volatile unsigned sink = sum;
  (void)sink;
  const auto kind = tensor.kind();
  if (!kind) return;
  const QuantTypeInfo& type = *quant_type_info(*kind);
  require(tensor.in_features() % type.block_elements == 0, "a row is whole blocks");
  const std::size_t blocks = std::min<std::size_t>(data->size() / type.block_bytes, 4);
  std::vector<float> weights(blocks * type.block_elements);
  require(dequantize(*kind, data->bytes().first(blocks * type.block_bytes), weights).has_value(), "blocks decode");
  (void)find_non_finite_block(*kind, data->bytes().first(blocks * type.block_bytes));
}

// What the writer takes (its rules are stricter), the reader gives back.
void write_again(const GgufFile& file) {
  GgufWriter writer;
  for (const GgufEntry& entry : file.metadata()) {
    if (!writer.set(entry.key, *entry.value())) return;
  }
  for (const GgufTensorInfo& tensor : file.tensors()) {
    if (!writer.add_tensor(tensor.name, tensor.type_id, tensor.dims, *file.bytes(tensor))) return;
  }
  auto bytes = writer.serialize();
  require(bytes.has_value(), "what the writer took, it writes");
  const auto again = GgufFile::parse(std::move(*bytes), "again");
  require(again.has_value(), "what the writer wrote, the reader reads");
  require(again->tensors().size() == file.tensors().size(), "all tensors come back");
  for (const GgufTensorInfo& tensor : file.tensors()) {
    require(std::ranges::equal(again->bytes(tensor.name)->bytes(), file.bytes(tensor)->bytes()), "bytes come back");
    require((*again->find(tensor.name))->dims == tensor.dims, "dimensions come back");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  const auto file = GgufFile::parse({bytes, bytes + size}, "fuzz");
  if (!file) {
    check_refusal(file.error(), size);
    return 0;
  }
  read_metadata(file->metadata());
  for (const GgufTensorInfo& tensor : file->tensors()) read_tensor(*file, tensor);
  write_again(*file);
  return 0;
}
