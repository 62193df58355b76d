// GGUF files made field by field, right or wrong, by code that shares nothing with the library; and
// the three ways in which the library can be given one.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "quantlinear/gguf.hpp"

namespace gguf_test {

/// Value type ids of the format.
enum : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

inline constexpr std::uint64_t max64 = ~std::uint64_t{0};
inline constexpr std::uint64_t pow2(unsigned n) { return std::uint64_t{1} << n; }

/// The bytes of a file, appended in file order (on little-endian machines). here() remembers the
/// position of the field that follows: where the error is expected.
struct Raw {
  std::string bytes;
  std::uint64_t mark = 0;
  bool marked = false;

  Raw& raw(std::string_view more) {
    bytes += more;
    return *this;
  }
  template <class T>
  Raw& put(T value) {
    char field[sizeof(T)];
    std::memcpy(field, &value, sizeof(T));
    return raw({field, sizeof(T)});
  }
  Raw& u32(std::uint64_t value) { return put(static_cast<std::uint32_t>(value)); }
  Raw& u64(std::uint64_t value) { return put(value); }
  Raw& text(std::string_view characters) { return u64(characters.size()).raw(characters); }
  Raw& zeros(std::size_t count) {
    bytes.append(count, '\0');
    return *this;
  }
  Raw& here() {
    mark = bytes.size();
    marked = true;
    return *this;
  }

  Raw& start(std::uint32_t version = 3) { return raw("GGUF").u32(version); }
  Raw& head(std::uint64_t n_tensors, std::uint64_t n_kv) { return start().u64(n_tensors).u64(n_kv); }
  Raw& key(std::string_view name, std::uint64_t type) { return text(name).u32(type); }
  Raw& array(std::string_view name, std::uint64_t element_type) { return key(name, ARRAY).u32(element_type); }
  /// Everything of a tensor record up to its type.
  Raw& shape(std::string_view name, const std::vector<std::uint64_t>& dims) {
    text(name).u32(dims.size());
    for (const std::uint64_t dim : dims) u64(dim);
    return *this;
  }
  Raw& tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint64_t type, std::uint64_t offset) {
    return shape(name, dims).u32(type).u64(offset);
  }
  /// Padding to `alignment`, then `count` bytes of data.
  Raw& data(std::size_t count, std::size_t alignment = 32) {
    zeros((alignment - bytes.size() % alignment) % alignment);
    for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(i * 7 + 1);
    return *this;
  }

  [[nodiscard]] std::vector<std::byte> vector() const {
    const auto* from = reinterpret_cast<const std::byte*>(bytes.data());
    return {from, from + bytes.size()};
  }
};

/// A directory of its own for a test, removed at the end.
class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "quantlinear-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    const auto path = path_ / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

 private:
  std::filesystem::path path_;
};

enum class Way { map, read, memory };
inline constexpr Way every_way[] = {Way::map, Way::read, Way::memory};
inline const char* to_string(Way way) { return way == Way::map ? "map" : way == Way::read ? "read" : "memory"; }

/// Opens `file` in the given way; the name in messages is `name` at the end.
inline quantlinear::Result<quantlinear::GgufFile> open(const Raw& file, Way way, const Directory& directory,
                                                       std::string_view name = "test.gguf") {
  if (way == Way::memory) return quantlinear::GgufFile::parse(file.vector(), std::string(name));
  const auto access = way == Way::map ? quantlinear::GgufAccess::map : quantlinear::GgufAccess::read;
  return quantlinear::GgufFile::open(directory.write(name, file.bytes), {access});
}

/// Reads everything a file offers, as a caller would; returns a sum so that nothing is optimised
/// away. Tests run it under sanitizers. `complaints` gets what should not happen.
inline std::uint64_t touch(const quantlinear::GgufFile& file, std::string& complaints) {
  std::uint64_t sum = file.version() + file.alignment() + file.total_bytes() + file.tensor_bytes();
  for (const quantlinear::GgufEntry& entry : file.metadata()) {
    const auto value = entry.value();
    if (!value) complaints += "no value: " + value.error().message + "\n";
    if (value) sum += value->index() + entry.count;
    if (!file.metadata().contains(entry.key)) complaints += "lost key\n";
  }
  for (const quantlinear::GgufTensorInfo& tensor : file.tensors()) {
    if (!file.contains(tensor.name)) complaints += "lost tensor\n";
    const auto bytes = file.bytes(tensor);
    if (!bytes) complaints += "no bytes: " + bytes.error().message + "\n";
    if (!bytes) continue;
    if (bytes->size() != tensor.bytes) complaints += "wrong size\n";
    for (const std::byte byte : bytes->bytes()) sum = sum * 31 + static_cast<std::uint64_t>(byte);
    sum += tensor.rows() + tensor.in_features() + tensor.type_name().size();
  }
  return sum;
}

}  // namespace gguf_test
