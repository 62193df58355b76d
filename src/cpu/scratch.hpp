// Memory that a backend accounts for, and the aligned scratch of a context.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>

#include "quantlinear/error.hpp"
#include "quantlinear/report.hpp"

namespace quantlinear::cpu {

/// What the stores and contexts of one backend hold; shared with them, so that they may outlive it.
struct Ledger {
  std::atomic<std::uint64_t> resident{0}, shared{0}, transient{0};

  void add(const MemoryUse& use) noexcept {
    resident += use.resident_bytes;
    shared += use.shared_bytes;
    transient += use.transient_bytes;
  }
  void remove(const MemoryUse& use) noexcept {
    resident -= use.resident_bytes;
    shared -= use.shared_bytes;
    transient -= use.transient_bytes;
  }
  [[nodiscard]] MemoryUse read() const noexcept { return {resident.load(), shared.load(), transient.load()}; }
};

/// Bytes of a page of memory, where the hardware's own fetching mostly ends.
inline constexpr std::size_t kScratchPage = 4096;

/// One block, aligned to a page, that only grows.
class Scratch {
 public:
  explicit Scratch(std::shared_ptr<Ledger> ledger) : ledger_(std::move(ledger)) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { release(); }

  /// At least `bytes` bytes; what they held before is lost when the block grows.
  [[nodiscard]] Result<std::byte*> reserve(std::size_t bytes) {
    if (bytes <= size_) return data_;
    release();
    data_ = static_cast<std::byte*>(
        std::aligned_alloc(kScratchPage, (bytes + kScratchPage - 1) / kScratchPage * kScratchPage));
    if (data_ == nullptr) {
      return out_of_memory("cannot allocate ", bytes, " bytes of scratch memory");
    }
    size_ = bytes;
    ledger_->add({0, 0, size_});
    return data_;
  }

 private:
  void release() noexcept {
    if (data_ == nullptr) return;
    ledger_->remove({0, 0, size_});
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
  }

  std::shared_ptr<Ledger> ledger_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace quantlinear::cpu
