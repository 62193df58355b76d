// Work items shared out among lanes: each begins with a share of its own, one after the other, and helps the others
// when it is done. So the rows of a matrix are read by the same lane every time, and by the lane that first touched
// them where the store owns its memory (interleave.cpp); that is what memory of several nodes wants.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>

namespace quantlinear::cpu {

class ItemShares {
 public:
  ItemShares(std::size_t items, std::size_t lanes) noexcept : lanes_(lanes), count_(std::min(lanes, kMost)) {
    for (std::size_t i = 0; i < count_; ++i) {
      shares_[i].next.store(i * items / count_, std::memory_order_relaxed);
      shares_[i].end = (i + 1) * items / count_;
    }
  }

  /// Called once for every lane, on any thread: body(item) for items that no other call has.
  template <class Body>
  void work(std::size_t lane, Body body) noexcept {
    const std::size_t own = lane * count_ / lanes_;
    for (std::size_t i = 0; i < count_; ++i) {
      Share& share = shares_[(own + i) % count_];
      for (std::size_t item = share.next++; item < share.end; item = share.next++) body(item);
    }
  }

 private:
  static constexpr std::size_t kMost = 64;  ///< lanes beyond begin with a share together
  struct alignas(64) Share {
    std::atomic<std::size_t> next;
    std::size_t end;
  };
  std::size_t lanes_, count_;
  std::array<Share, kMost> shares_;
};

}  // namespace quantlinear::cpu
