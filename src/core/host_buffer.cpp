#include "quantlinear/host_buffer.hpp"

#include <cstdlib>
#include <cstring>
#include <limits>

namespace quantlinear {

void HostBuffer::Free::operator()(float* p) const noexcept { std::free(p); }

Result<HostBuffer> HostBuffer::allocate(std::uint64_t count) {
  HostBuffer buffer;
  if (count == 0) return buffer;
  constexpr std::uint64_t kMost = (std::numeric_limits<std::size_t>::max() / 2) / sizeof(float);
  if (count <= kMost) {
    const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(float) + 63) / 64 * 64;
    buffer.data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
    if (buffer.data_) {
      std::memset(buffer.data_.get(), 0, bytes);
      buffer.size_ = static_cast<std::size_t>(count);
      return buffer;
    }
  }
  return out_of_memory("cannot allocate a buffer of ", count, " floats");
}

}  // namespace quantlinear
