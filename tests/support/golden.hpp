// The golden files in tests/golden, read without the library's own reader: the tests share no code
// with what they test. Understands just what those files contain.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "quantlinear/quant_type.hpp"

namespace quantlinear::test {

struct GoldenTensor {
  std::uint32_t type = 0;
  std::vector<std::uint64_t> shape;  ///< fastest first
  std::vector<std::byte> bytes;

  /// The bytes as f32; for the F32 tensors.
  [[nodiscard]] std::vector<float> floats() const {
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
};

class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    data_.assign(std::istreambuf_iterator<char>(file), {});
    if (data_.size() < 24 || std::memcmp(data_.data(), "GGUF", 4) != 0)
      throw std::runtime_error("no golden file " + path.string());
    at_ = 8;
    const auto tensors = take<std::uint64_t>();
    for (auto keys = take<std::uint64_t>(); keys != 0; --keys) {
      take_string();
      skip_value(take<std::uint32_t>());
    }
    struct Info {
      std::string name;
      GoldenTensor tensor;
      std::uint64_t offset = 0;
    };
    std::vector<Info> infos(tensors);
    for (Info& info : infos) {
      info.name = take_string();
      info.tensor.shape.resize(take<std::uint32_t>());
      for (std::uint64_t& dim : info.tensor.shape) dim = take<std::uint64_t>();
      info.tensor.type = take<std::uint32_t>();
      info.offset = take<std::uint64_t>();
    }
    const std::size_t start = (at_ + 31) / 32 * 32;
    for (std::size_t i = 0; i < infos.size(); ++i) {
      // Tensors stand one after the other; the next offset bounds the padded size.
      Info& info = infos[i];
      std::uint64_t elements = 1;
      for (const std::uint64_t dim : info.tensor.shape) elements *= dim;
      const QuantTypeInfo* type = quant_type_info(static_cast<GgufQuantType>(info.tensor.type));
      const std::size_t bytes = elements / type->block_elements * type->block_bytes;
      const auto* first = reinterpret_cast<const std::byte*>(data_.data() + start + info.offset);
      info.tensor.bytes.assign(first, first + bytes);
      tensors_.emplace(info.name, std::move(info.tensor));
    }
  }

  [[nodiscard]] const GoldenTensor& operator[](const std::string& name) const { return tensors_.at(name); }

 private:
  template <class T>
  T take() {
    T value;
    std::memcpy(&value, data_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string take_string() {
    const auto length = take<std::uint64_t>();
    at_ += length;
    return {data_.data() + at_ - length, length};
  }
  void skip_value(std::uint32_t type) {
    constexpr std::size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) {
      take_string();
    } else {
      at_ += kSizes[type];
    }
  }

  std::vector<char> data_;
  std::size_t at_ = 0;
  std::map<std::string, GoldenTensor> tensors_;
};

/// tests/golden/TYPE.gguf, whatever the case of its name.
inline GoldenFile load_golden(const QuantTypeInfo& type) {
  const auto lower = [](std::string s) {
    std::ranges::transform(s, s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return s;
  };
  for (const auto& entry : std::filesystem::directory_iterator(QUANTLINEAR_GOLDEN_DIR)) {
    if (lower(entry.path().stem().string()) == lower(std::string(type.name))) return GoldenFile(entry.path());
  }
  throw std::runtime_error("no golden file for " + std::string(type.name));
}

}  // namespace quantlinear::test
