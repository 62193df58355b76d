#include "core/huge_pages.hpp"

#include <cstdlib>
#include <limits>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace quantlinear::detail {

std::shared_ptr<std::byte> allocate_in_huge_pages(std::size_t size) try {
  if (size > std::numeric_limits<std::size_t>::max() / 2) return nullptr;  // no object is that large
  if (size == 0) size = 1;
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  const std::size_t alignment = size < kHugePage ? 64 : kHugePage;
  const std::size_t asked = (size + alignment - 1) / alignment * alignment;  // what is never touched takes no memory
  const std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(alignment, asked)), std::free);
#if defined(MADV_HUGEPAGE)
  if (memory != nullptr && alignment == kHugePage) {
    const std::size_t huge = asked - size <= size / 16 ? asked : size / kHugePage * kHugePage;
    madvise(memory.get(), huge, MADV_DONTNEED);  // memory that was used before has small pages, which have to go first
    prefer_huge_pages(memory.get(), huge);
  }
#endif
  return memory;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void prefer_huge_pages([[maybe_unused]] void* mapping, [[maybe_unused]] std::size_t size) noexcept {
#if defined(MADV_HUGEPAGE)
  madvise(mapping, size, MADV_HUGEPAGE);  // advice: nothing depends on it
#endif
}

}  // namespace quantlinear::detail
