// Writing GGUF files: metadata and tensors are collected, checked, and then written in one go, either
// to a file that appears complete or not at all, or to memory. The result is version 3,
// little-endian, laid out by the stricter of all readers' rules (tensors back to back in the order
// they were added, each padded to the alignment, the last one too). No call throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "quantlinear/error.hpp"
#include "quantlinear/gguf.hpp"
#include "quantlinear/quant_bytes.hpp"
#include "quantlinear/quant_type.hpp"

namespace quantlinear {

/// Where the bytes of a tensor come from when it is written:
///   a span or vector  borrowed: the caller keeps it alive and unchanged until the file is written;
///   QuantBytes        kept by the writer, in the way that object spells out;
///   a Source          called once for every write, in file order, and its bytes let go before the
///                     next tensor: this is how a file larger than memory is written. Errors it
///                     returns end the write and are passed on.
class GgufTensorData {
 public:
  using Source = std::function<Result<QuantBytes>()>;

  GgufTensorData(std::span<const std::byte> borrowed) noexcept : from_(QuantBytes::borrow(borrowed)) {}
  GgufTensorData(const std::vector<std::byte>& borrowed) noexcept : GgufTensorData(std::span(borrowed)) {}
  GgufTensorData(std::vector<std::byte>&&) = delete;  // a borrow would dangle: QuantBytes::own(...)
  GgufTensorData(QuantBytes bytes) noexcept : from_(std::move(bytes)) {}
  GgufTensorData(Source source) noexcept : from_(std::move(source)) {}

 private:
  friend class GgufWriter;
  std::variant<QuantBytes, Source> from_;
};

/// Collects a GGUF file. Movable, not thread-safe: one thread at a time.
/// Everything that a reader would refuse is refused when it is added, as invalid_argument naming
/// the key or tensor; a refused call changes nothing. All calls may also fail with out_of_memory.
class GgufWriter {
 public:
  /// Sets a key, replacing the value if it is there already; keys are written in the order of their
  /// first mention. Keys are 1 to 65535 bytes; arrays nest at most 4 deep. The key
  /// "general.alignment" must be a u32 and does what set_alignment does.
  Status set(std::string_view key, GgufValue value);

  /// Bytes to which the data of every tensor is aligned: a power of two up to 2^20. The default, 32,
  /// is what a file without the key "general.alignment" means, and is not written.
  Status set_alignment(std::uint32_t bytes);

  /// Adds a tensor at the end. `name` is 1 to 63 bytes and new; `type_id` a GGUF tensor type id;
  /// `dims` 1 to 4 dimensions, fastest first ({in_features, out_features, ...}), none 0 (ggml cannot
  /// read those), and a row whole blocks. The size of `data` must be exactly that of the tensor.
  Status add_tensor(std::string_view name, std::uint32_t type_id, std::span<const std::uint64_t> dims,
                    GgufTensorData data);
  Status add_tensor(std::string_view name, GgufQuantType kind, std::span<const std::uint64_t> dims,
                    GgufTensorData data) {
    return add_tensor(name, static_cast<std::uint32_t>(kind), dims, std::move(data));
  }

  /// The whole file in memory.
  [[nodiscard]] Result<std::vector<std::byte>> serialize() const;

  /// Writes the file under a temporary name beside `path`, flushes it to storage, and renames it to
  /// `path`, so that at every moment `path` is what it was before or the complete new file, and
  /// whoever has the old one mapped keeps it. A symbolic link to a regular file, or to nothing, is
  /// replaced, not followed; whatever else is there, or linked to, is refused. A file that is replaced gives the new
  /// one its permissions. On error nothing is left behind. Errors: io, invalid_argument (path), those of a Source,
  /// out_of_memory.
  Status write(const std::filesystem::path& path) const;

 private:
  struct Key {
    std::string name;
    GgufValue value;
  };
  struct Tensor {
    std::string name;
    std::uint32_t type_id;
    GgufDims dims;
    std::uint64_t bytes;
    GgufTensorData data;
  };
  using Sink = std::function<Status(std::span<const std::byte>)>;

  [[nodiscard]] Result<std::vector<std::byte>> header() const;
  Status emit(const Sink& sink) const;

  std::vector<Key> keys_;
  std::unordered_map<std::string, std::size_t> key_index_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, std::size_t> tensor_index_;
  std::uint32_t alignment_ = 32;
};

}  // namespace quantlinear
