// The header of a file (everything before the tensor data) in memory of our own, so that nobody can
// change it between a check and a use. Grown as the parser advances: what is read and allocated
// follows the header, never the data or a number that the file claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "quantlinear/error.hpp"

namespace quantlinear::gguf {

class File;

/// Positions in a header fit 32 bits, with room: no header may pass this many bytes.
inline constexpr std::uint64_t largest_header = std::uint64_t{1} << 30;

class HeaderBytes {
 public:
  /// Reads from `file`, which must outlive this object.
  explicit HeaderBytes(const File& file) noexcept;
  /// A file that is in memory already; `keeper` keeps `whole` alive.
  HeaderBytes(std::span<const std::byte> whole, std::shared_ptr<const void> keeper) noexcept
      : view_(whole), file_size_(whole.size()), keeper_(std::move(keeper)) {}

  [[nodiscard]] std::uint64_t file_size() const noexcept { return file_size_; }
  /// Makes bytes [0, end) available; end <= min(file_size(), largest_header). Pointers to bytes
  /// got before become invalid.
  [[nodiscard]] Status ensure(std::uint64_t end);
  [[nodiscard]] const std::byte* at(std::uint64_t position) const noexcept {
    return view_.data() + static_cast<std::size_t>(position);
  }

  /// Ends the growth: gives back what lies behind `end` and returns who keeps the rest alive. The
  /// bytes do not move any more. May throw std::bad_alloc.
  struct Kept {
    const std::byte* bytes;
    std::shared_ptr<const void> keeper;
  };
  [[nodiscard]] Kept keep(std::uint64_t end);

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  std::span<const std::byte> view_;  // what is available now
  std::uint64_t file_size_;
  const File* file_ = nullptr;
  std::unique_ptr<std::byte, Free> memory_;  // when read from a file: what view_ shows
  std::shared_ptr<const void> keeper_;       // when in memory already
};

}  // namespace quantlinear::gguf
