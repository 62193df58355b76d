// The raw block bytes of a weight matrix, and who keeps them alive.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "quantlinear/error.hpp"

namespace quantlinear {

/// Bytes of GGUF blocks as they stand on disk, row after row, with any alignment. Cheap to copy:
/// copies share the memory. Whether the memory is kept alive is a decision the caller spells out:
///   borrow(span)        the caller keeps `span` alive and unchanged as long as any layer uses it;
///   copy(span)          a private copy, of 2 MiB or more in huge pages if the system grants them
///                       (rounded up to whole ones by a sixteenth at the most). Error: out_of_memory;
///   own(vector)         takes the vector over;
///   share(span, owner)  `owner` keeps `span` alive (this is what GgufFile hands out).
class QuantBytes {
 public:
  QuantBytes() = default;

  [[nodiscard]] static QuantBytes borrow(std::span<const std::byte> bytes) noexcept {
    return QuantBytes(bytes, nullptr, Residence::borrowed);
  }
  static QuantBytes borrow(std::vector<std::byte>&&) = delete;  // would dangle: own(...)
  [[nodiscard]] static Result<QuantBytes> copy(std::span<const std::byte> bytes);
  [[nodiscard]] static QuantBytes own(std::vector<std::byte> bytes);
  /// `mapped`: the memory is a view of a file (clean pages that the system can drop and re-read).
  [[nodiscard]] static QuantBytes share(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                        bool mapped) noexcept {
    return QuantBytes(bytes, std::move(owner), mapped ? Residence::mapped : Residence::owned);
  }

  /// Of a mapped file: tells the system that the pages are not needed for now; reading them again brings them back.
  /// Does nothing for other memory.
  void give_up_pages() const noexcept;

  /// Where the bytes live, for the memory plan and the ledger.
  enum class Residence : unsigned char { borrowed, owned, mapped };

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] Residence residence() const noexcept { return residence_; }

 private:
  QuantBytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, Residence residence) noexcept
      : bytes_(bytes), owner_(std::move(owner)), residence_(residence) {}

  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  Residence residence_ = Residence::borrowed;
};

}  // namespace quantlinear
