// A vector of up to Capacity elements that lie within it, like std::inplace_vector of C++26. Making one or copying it
// touches no more than the elements it has, which is what a call on a small layer can afford.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace quantlinear::cpu {

template <class T, std::size_t Capacity>
  requires(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>)
class InplaceVector {
 public:
  InplaceVector() noexcept = default;
  InplaceVector(const InplaceVector& other) noexcept { *this = other; }
  InplaceVector& operator=(const InplaceVector& other) noexcept {
    if (this == &other) return *this;
    size_ = other.size_;
    std::memcpy(storage_, other.storage_, size_ * sizeof(T));
    return *this;
  }
  ~InplaceVector() = default;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const T> all() const { return {std::launder(reinterpret_cast<const T*>(storage_)), size_}; }
  /// Behind the others, of which there are less than Capacity.
  void push_back(const T& element) { std::construct_at(reinterpret_cast<T*>(storage_) + size_++, element); }

 private:
  std::size_t size_ = 0;
  alignas(T) std::byte storage_[Capacity * sizeof(T)];
};

}  // namespace quantlinear::cpu
