#include "quantlinear/quant_bytes.hpp"

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdint>

#include "core/huge_pages.hpp"

namespace quantlinear {

Result<QuantBytes> QuantBytes::copy(std::span<const std::byte> bytes) {
  const std::shared_ptr<std::byte> memory = detail::allocate_in_huge_pages(bytes.size());
  if (memory == nullptr) {
    return out_of_memory("cannot allocate ", bytes.size(), " bytes of weights");
  }
  std::ranges::copy(bytes, memory.get());
  return share({memory.get(), bytes.size()}, memory, false);
}

QuantBytes QuantBytes::own(std::vector<std::byte> bytes) {
  auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  const std::span<const std::byte> view(*owner);
  return share(view, std::move(owner), false);
}

void QuantBytes::give_up_pages() const noexcept {
#ifdef MADV_PAGEOUT  // the one advice that never loses what somebody wrote there
  if (residence_ != Residence::mapped || bytes_.empty()) return;
  // Whole pages only: what is beside them belongs to others.
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes_.data());
  const std::uintptr_t first = (begin + page - 1) / page * page, end = (begin + bytes_.size()) / page * page;
  if (first < end) madvise(const_cast<std::byte*>(bytes_.data()) + (first - begin), end - first, MADV_PAGEOUT);
#endif
}

}  // namespace quantlinear
