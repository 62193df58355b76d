#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "gguf/layout.hpp"
#include "gguf/little_endian.hpp"
#include "gguf/message.hpp"
#include "gguf/metadata.hpp"
#include "gguf/new_file.hpp"
#include "gguf/tensor_types.hpp"
#include "quantlinear/gguf_writer.hpp"

namespace quantlinear {
namespace {

constexpr std::size_t longest_name = 63;  // ggml keeps names in 64 bytes, the last one a NUL

// ---- encoding ----------------------------------------------------------------------------------

class Encoder {
 public:
  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.push_back(std::byte{value});
    } else if constexpr (std::is_arithmetic_v<T>) {
      out_.resize(out_.size() + sizeof(T));
      gguf::store(out_.data() + out_.size() - sizeof(T), value);
    } else if constexpr (std::is_same_v<T, GgufArray>) {
      put(static_cast<std::uint32_t>(value.element_type()));
      put(static_cast<std::uint64_t>(value.size()));
      std::visit(
          [this]<class V>(const std::vector<V>& elements) {
            for (const V& element : elements) this->put(element);
          },
          value.items);
    } else {
      put_text(value);
    }
  }

  void put_text(std::string_view text) {
    put(static_cast<std::uint64_t>(text.size()));
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    out_.insert(out_.end(), bytes, bytes + text.size());
  }

  void put_key(std::string_view key, const GgufValue& value) {
    put_text(key);
    put(static_cast<std::uint32_t>(type_of(value)));
    std::visit([this](const auto& v) { put(v); }, value);
  }

  void pad_to(std::uint32_t alignment) {
    out_.resize(static_cast<std::size_t>(gguf::align_up(out_.size(), alignment)));
  }

  [[nodiscard]] std::vector<std::byte>& bytes() { return out_; }

 private:
  std::vector<std::byte> out_;
};

// ---- checks ------------------------------------------------------------------------------------

// Whether arrays in `array` nest at most `levels` deep, itself included.
bool nests_within(const GgufArray& array, std::uint32_t levels) {
  if (levels == 0) return false;
  const auto* inner = std::get_if<std::vector<GgufArray>>(&array.items);
  return inner == nullptr ||
         std::ranges::all_of(*inner, [&](const GgufArray& a) { return nests_within(a, levels - 1); });
}

std::unexpected<Error> refuse_key(std::string_view key, const std::string& why) {
  return fail(ErrorCode::invalid_argument, "metadata key \"" + gguf::printable(key) + "\": " + why);
}

std::unexpected<Error> refuse_tensor(std::string_view name, const std::string& why) {
  return fail(ErrorCode::invalid_argument, "tensor \"" + gguf::printable(name) + "\": " + why);
}

Status check_dims(std::string_view name, std::span<const std::uint64_t> dims) {
  if (dims.empty() || dims.size() > GgufDims::max_rank) {
    return refuse_tensor(name, "found " + std::to_string(dims.size()) + " dimensions, expected 1 to 4");
  }
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0) {
      return refuse_tensor(name, "found 0 for dims[" + std::to_string(i) + "], ggml cannot read empty tensors");
    }
  }
  return {};
}

}  // namespace

// ---- collecting --------------------------------------------------------------------------------

Status GgufWriter::set(std::string_view key, GgufValue value) {
  return gguf::guarded("GGUF writer", [&]() -> Status {
    if (key.empty() || key.size() > gguf::longest_key) {
      return refuse_key(
          key, "found " + std::to_string(key.size()) + " bytes, expected 1 to " + std::to_string(gguf::longest_key));
    }
    if (key == gguf::alignment_key) {
      const auto* alignment = std::get_if<std::uint32_t>(&value);
      if (alignment == nullptr) {
        return refuse_key(key, "found " + std::string(to_string(type_of(value))) + ", the alignment must be u32");
      }
      return set_alignment(*alignment);
    }
    const auto* array = std::get_if<GgufArray>(&value);
    if (array != nullptr && !nests_within(*array, gguf::deepest_array)) {
      return refuse_key(key, "found an array nested deeper than " + std::to_string(gguf::deepest_array) + " levels");
    }
    const auto [place, is_new] = key_index_.try_emplace(std::string(key), keys_.size());
    if (!is_new) {
      keys_[place->second].value = std::move(value);
      return {};
    }
    try {
      keys_.push_back({std::string(key), std::move(value)});
    } catch (...) {
      key_index_.erase(place);
      throw;
    }
    return {};
  });
}

Status GgufWriter::set_alignment(std::uint32_t bytes) {
  return gguf::guarded("GGUF writer", [&]() -> Status {
    if (!gguf::is_alignment(bytes)) {
      return refuse_key(gguf::alignment_key, "found " + std::to_string(bytes) + ", expected a power of two up to " +
                                                 std::to_string(gguf::largest_alignment));
    }
    alignment_ = bytes;
    return {};
  });
}

Status GgufWriter::add_tensor(std::string_view name, std::uint32_t type_id, std::span<const std::uint64_t> dims,
                              GgufTensorData data) {
  return gguf::guarded("GGUF writer", [&]() -> Status {
    if (name.empty() || name.size() > longest_name) {
      return refuse_tensor(name, "found a name of " + std::to_string(name.size()) + " bytes, expected 1 to " +
                                     std::to_string(longest_name));
    }
    const auto type = gguf::tensor_type(type_id);
    if (!type) {
      return refuse_tensor(name, "found type " + std::to_string(type_id) + ", " + gguf::describe_unknown_type(type_id));
    }
    if (auto good = check_dims(name, dims); !good) return good;
    const auto bytes = gguf::tensor_bytes(*type, GgufDims(dims));
    if (!bytes) {
      const std::size_t dim = bytes.error().dim;
      return refuse_tensor(
          name, "found " + std::to_string(dims[dim]) + " for dims[" + std::to_string(dim) + "], " + bytes.error().why);
    }
    if (const auto* given = std::get_if<QuantBytes>(&data.from_); given != nullptr && given->size() != *bytes) {
      return refuse_tensor(name, "found " + std::to_string(given->size()) +
                                     " bytes of data, its type and dimensions need " + std::to_string(*bytes));
    }
    const auto [place, is_new] = tensor_index_.try_emplace(std::string(name), tensors_.size());
    if (!is_new) return refuse_tensor(name, "found a second time, names must be unique");
    try {
      tensors_.push_back({std::string(name), type_id, GgufDims(dims), *bytes, std::move(data)});
    } catch (...) {
      tensor_index_.erase(place);
      throw;
    }
    return {};
  });
}

// ---- writing -----------------------------------------------------------------------------------

Result<std::vector<std::byte>> GgufWriter::header() const {
  Encoder out;
  out.put(std::uint32_t{0x46554747});  // "GGUF"
  out.put(std::uint32_t{3});
  const bool names_alignment = alignment_ != gguf::default_alignment;
  out.put(static_cast<std::uint64_t>(tensors_.size()));
  out.put(static_cast<std::uint64_t>(keys_.size() + (names_alignment ? 1 : 0)));
  if (names_alignment) out.put_key(gguf::alignment_key, GgufValue(alignment_));
  for (const Key& key : keys_) out.put_key(key.name, key.value);
  std::uint64_t offset = 0;
  // Room for the header and for rounding up stays below 2^63, where ggml's file sizes end.
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max() - 2 * gguf::largest_header;
  for (const Tensor& tensor : tensors_) {
    out.put_text(tensor.name);
    out.put(static_cast<std::uint32_t>(tensor.dims.size()));
    for (const std::uint64_t dim : tensor.dims) out.put(dim);
    out.put(tensor.type_id);
    out.put(offset);
    if (offset > most || tensor.bytes > most - offset)
      return refuse_tensor(tensor.name, "the file would pass 2^63 bytes");
    offset = gguf::align_up(offset + tensor.bytes, alignment_);
  }
  if (!tensors_.empty()) out.pad_to(alignment_);
  if (out.bytes().size() > gguf::largest_header) {
    return fail(ErrorCode::invalid_argument, "GGUF writer: found " + std::to_string(out.bytes().size()) +
                                                 " bytes of metadata and tensor list, expected at most " +
                                                 std::to_string(gguf::largest_header));
  }
  return std::move(out.bytes());
}

Status GgufWriter::emit(const Sink& sink) const {
  const auto head = header();
  if (!head) return std::unexpected(head.error());
  if (auto put = sink(*head); !put) return put;
  const std::vector<std::byte> zeros(alignment_);
  for (const Tensor& tensor : tensors_) {
    QuantBytes bytes;
    if (const auto* given = std::get_if<QuantBytes>(&tensor.data.from_)) {
      bytes = *given;
    } else {
      const auto& source = std::get<GgufTensorData::Source>(tensor.data.from_);
      if (!source) return refuse_tensor(tensor.name, "its source is an empty function");
      auto made = source();
      if (!made) return std::unexpected(std::move(made).error());
      bytes = std::move(*made);
    }
    if (bytes.size() != tensor.bytes) {
      return refuse_tensor(tensor.name, "found " + std::to_string(bytes.size()) +
                                            " bytes of data from its source, its type and dimensions need " +
                                            std::to_string(tensor.bytes));
    }
    if (auto put = sink(bytes.bytes()); !put) return put;
    const std::uint64_t padding = gguf::align_up(tensor.bytes, alignment_) - tensor.bytes;
    if (auto put = sink(std::span(zeros).first(static_cast<std::size_t>(padding))); !put) return put;
  }
  return {};
}

Result<std::vector<std::byte>> GgufWriter::serialize() const {
  return gguf::guarded("GGUF writer", [&]() -> Result<std::vector<std::byte>> {
    std::vector<std::byte> file;
    auto emitted = emit([&](std::span<const std::byte> bytes) -> Status {
      file.insert(file.end(), bytes.begin(), bytes.end());
      return {};
    });
    if (!emitted) return std::unexpected(std::move(emitted).error());
    return file;
  });
}

Status GgufWriter::write(const std::filesystem::path& path) const {
  return gguf::guarded("GGUF writer", [&]() -> Status {
    auto file = gguf::NewFile::create(path);
    if (!file) return std::unexpected(std::move(file).error());
    if (auto emitted = emit([&](std::span<const std::byte> bytes) { return file->append(bytes); }); !emitted) {
      return emitted;
    }
    return file->commit();
  });
}

}  // namespace quantlinear
