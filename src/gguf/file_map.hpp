// Files of the operating system: opened without hanging, read or mapped. The only header of
// src/gguf behind which system calls hide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "quantlinear/error.hpp"

namespace quantlinear::gguf {

/// Bytes of a file, from byte `first` of it to its end, kept alive by `keeper`.
struct FileBytes {
  std::span<const std::byte> bytes;
  std::uint64_t first = 0;
  bool mapped = false;
  std::shared_ptr<const void> keeper;
};

/// An open regular file: its descriptor, and the size and time it had when it was opened. Movable;
/// closes itself. The const calls are thread-safe.
class File {
 public:
  /// Refuses whatever is no regular file, without blocking on it.
  [[nodiscard]] static Result<File> open(const std::filesystem::path& path);

  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The path as printed in messages.
  [[nodiscard]] const std::string& label() const noexcept { return label_; }

  /// Fills `into` from byte `offset`; error data_changed if the file ends before.
  [[nodiscard]] Status read_at(std::uint64_t offset, std::span<std::byte> into) const;
  /// The whole file, mapped. The mapping outlives the File.
  [[nodiscard]] Result<FileBytes> map() const;
  /// A copy of the file from byte `first` (at most size()) on, aligned to 64 bytes in memory.
  [[nodiscard]] Result<FileBytes> read_from(std::uint64_t first) const;
  /// Error data_changed if size or modification time are not those of open().
  [[nodiscard]] Status check_unchanged() const;

 private:
  File(int descriptor, std::string label) noexcept : descriptor_(descriptor), label_(std::move(label)) {}

  int descriptor_;
  std::string label_;
  std::uint64_t size_ = 0;
  std::int64_t modified_seconds_ = 0, modified_nanoseconds_ = 0;
};

}  // namespace quantlinear::gguf
