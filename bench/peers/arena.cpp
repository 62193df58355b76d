#include "arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace peers {
namespace {
constexpr std::size_t total_bytes = 4 * Arena::region_bytes;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }
}  // namespace

Arena Arena::create() {
  const int descriptor = memfd_create("compare_peers", 0);
  if (descriptor < 0) fail("memfd_create");
  if (ftruncate(descriptor, static_cast<off_t>(total_bytes)) != 0) fail("ftruncate of the shared memory");
  return Arena(descriptor);
}

Arena Arena::open(int descriptor) { return Arena(descriptor); }

Arena::Arena(int descriptor) : descriptor_(descriptor) {
  void* base = mmap(nullptr, total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  if (base == MAP_FAILED) fail("mmap of the shared memory");
  base_ = static_cast<std::byte*>(base);
}

Arena::Arena(Arena&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), base_(std::exchange(other.base_, nullptr)) {}

Arena::~Arena() {
  if (base_ != nullptr) munmap(base_, total_bytes);
  if (descriptor_ >= 0) close(descriptor_);
}

void Arena::clear() const {
  if (madvise(base_, total_bytes, MADV_REMOVE) != 0) fail("madvise of the shared memory");
}

}  // namespace peers
