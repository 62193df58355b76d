#include "core/huge_pages.hpp"

#include <cstdlib>
#include <limits>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace quantlinear::detail {

std::shared_ptr<std::byte> allocate_in_huge_pages(std::size_t size) try {
  constexpr std::size_t kLine = 64, kHugePage = std::size_t{1} << 21;
  if (size > std::numeric_limits<std::size_t>::max() / 2) return nullptr;  // no object is that large
  if (size == 0) size = 1;
  const auto rounded_to = [size](std::size_t unit) { return (size + unit - 1) / unit * unit; };
  const bool huge = size >= kHugePage;
  const bool whole = huge && rounded_to(kHugePage) - size <= size / 16;
  const std::size_t bytes = rounded_to(whole ? kHugePage : kLine);
  // aligned_alloc wants a size that is a multiple of the alignment; what is never touched takes no memory.
  const std::size_t alignment = huge ? kHugePage : kLine, asked = rounded_to(alignment);
  const std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(alignment, asked)), std::free);
#if defined(MADV_HUGEPAGE)
  if (memory != nullptr && huge) {
    const std::size_t in_huge_pages = bytes / kHugePage * kHugePage;
    // Memory that was used before has small pages, which have to go first.
    madvise(memory.get(), in_huge_pages, MADV_DONTNEED);
    prefer_huge_pages(memory.get(), in_huge_pages);
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
