// Memory that compare_peers shares with its workers: every contestant reads the same weights and
// activations and writes its results where the parent checks them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace peers {

/// Four regions of one sparse shared mapping; pages that nobody touches cost nothing.
class Arena {
 public:
  static constexpr std::size_t region_bytes = std::size_t{1} << 31;

  /// Creates the memory; the descriptor survives exec in the workers.
  static Arena create();
  /// Maps what the parent created.
  static Arena open(int descriptor);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;
  ~Arena();

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] std::byte* weights() const noexcept { return base_; }
  [[nodiscard]] float* activations() const noexcept { return region(1); }
  [[nodiscard]] float* outputs() const noexcept { return region(2); }
  [[nodiscard]] float* scratch() const noexcept { return region(3); }
  /// Gives the pages of all regions back.
  void clear() const;

 private:
  explicit Arena(int descriptor);
  [[nodiscard]] float* region(std::size_t index) const noexcept {
    return reinterpret_cast<float*>(base_ + index * region_bytes);
  }

  int descriptor_ = -1;
  std::byte* base_ = nullptr;
};

}  // namespace peers
