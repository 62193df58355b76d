// The library's side of the exchange with the Python package (gguf_python_roundtrip.py):
//   gguf_exchange dump FILE       prints every key and tensor, one a line
//   gguf_exchange copy FILE COPY  reads FILE and writes all of it to COPY
#include <cstdio>
#include <string>
#include <string_view>

#include "quantlinear/gguf_writer.hpp"

namespace {

using namespace quantlinear;

std::string hex(std::span<const std::byte> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += digits[std::to_integer<unsigned>(byte) >> 4];
    text += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::string hex(std::string_view text) { return hex(std::as_bytes(std::span(text))); }

// Numbers print so that they read back exactly; strings in hexadecimal.
template <class T>
void print(std::string& text, const T& value) {
  if constexpr (std::is_same_v<T, GgufArray>) {
    text.append("(").append(to_string(value.element_type()));
    std::visit(
        [&]<class V>(const std::vector<V>& elements) {
          for (const V& element : elements) print<V>(text.append(" "), element);
        },
        value.items);
    text.append(")");
  } else if constexpr (std::is_floating_point_v<T>) {
    char digits[64];
    std::snprintf(digits, sizeof(digits), "%.17g", static_cast<double>(value));
    text.append(digits);
  } else if constexpr (std::is_arithmetic_v<T>) {
    text.append(std::to_string(value));
  } else {
    text.append("'").append(hex(value)).append("'");
  }
}

int failed(const Error& error) {
  std::fprintf(stderr, "%s: %s\n", to_string(error.code), error.message.c_str());
  return 1;
}

int dump(const GgufFile& file) {
  std::printf("version %u alignment %u\n", file.version(), file.alignment());
  for (const GgufEntry& entry : file.metadata()) {
    const auto value = entry.value();
    if (!value) return failed(value.error());
    std::string text;
    std::visit([&](const auto& v) { print(text, v); }, *value);
    std::printf("key %s %s %s\n", hex(entry.key).c_str(), std::string(to_string(entry.type)).c_str(), text.c_str());
  }
  for (const GgufTensorInfo& tensor : file.tensors()) {
    const auto bytes = file.bytes(tensor);
    if (!bytes) return failed(bytes.error());
    std::printf("tensor %s %s", hex(tensor.name).c_str(), tensor.type_name().c_str());
    for (const std::uint64_t dim : tensor.dims) std::printf(" %llu", static_cast<unsigned long long>(dim));
    std::printf(" %s\n", hex(bytes->bytes()).c_str());
  }
  return 0;
}

int copy(const GgufFile& file, const char* path) {
  GgufWriter writer;
  for (const GgufEntry& entry : file.metadata()) {
    auto value = entry.value();
    if (!value) return failed(value.error());
    if (const auto set = writer.set(entry.key, std::move(*value)); !set) return failed(set.error());
  }
  for (const GgufTensorInfo& tensor : file.tensors()) {
    const auto bytes = file.bytes(tensor);
    if (!bytes) return failed(bytes.error());
    const auto added = writer.add_tensor(tensor.name, tensor.type_id, tensor.dims, *bytes);
    if (!added) return failed(added.error());
  }
  const auto written = writer.write(path);
  return written ? 0 : failed(written.error());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 2 ? argv[1] : "";
  if (!(command == "dump" && argc == 3) && !(command == "copy" && argc == 4)) {
    std::fprintf(stderr, "usage: gguf_exchange dump FILE | copy FILE COPY\n");
    return 2;
  }
  const auto file = GgufFile::open(argv[2]);
  if (!file) return failed(file.error());
  return command == "dump" ? dump(*file) : copy(*file, argv[3]);
}
