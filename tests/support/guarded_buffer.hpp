// Memory between two pages nobody may touch, that ends or begins exactly at one: one byte too far and the process
// traps.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <span>

namespace quantlinear::test {

/// Which end of the memory is exactly at a page.
enum class Guard { behind, before };

class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t size, Guard guard = Guard::behind) : size_(size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t pages = (size + page - 1) / page * page;
    mapped_ = page + pages + page;
    void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(p);
    mprotect(base_, page, PROT_NONE);
    mprotect(base_ + page + pages, page, PROT_NONE);
    data_ = base_ + page + (guard == Guard::before ? 0 : pages - size);
  }
  explicit GuardedBuffer(std::span<const std::byte> bytes, Guard guard = Guard::behind)
      : GuardedBuffer(bytes.size(), guard) {
    if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  ~GuardedBuffer() { munmap(base_, mapped_); }

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// As T; the size must be a multiple of sizeof(T).
  template <class T>
  [[nodiscard]] std::span<T> as() const {
    return {reinterpret_cast<T*>(data_), size_ / sizeof(T)};
  }

 private:
  std::byte* base_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
};

}  // namespace quantlinear::test
