// Sub-scales folded into the weights: where their product is a byte, a tile of a whole super-block is a sum of bytes
// times bytes, with nothing to scale in between. Costs one or two multiplications of a register of a panel, saves one
// of each column and sub-block.
#pragma once

#include "cpu/kernels/x86/row_lanes.hpp"

namespace quantlinear::cpu {
namespace {

template <class F>
struct Folded {
  /// Whether it is. Sub-scales are positive where there are mins; others go from -kMaxScale to kMaxScale - 1.
  static constexpr bool kFits = [] {
    if constexpr (F::kFamily != Family::super_block) {
      return false;
    } else if constexpr (F::kHasMin) {
      return F::kOffset == 0 && F::kMaxU * F::kMaxScale <= 255;
    } else {
      return F::kMaxScale > 1 && 2 * F::kOffset > F::kMaxU && (2 * F::kMaxScale - 1) * F::kOffset <= 255;
    }
  }();
  /// Added to s * (u - offset), so that it is unsigned.
  static constexpr int kBias = kFits ? (F::kMaxScale - 1) * F::kOffset : 0;

  /// s * (u - offset) + kBias of the bytes of a register; words of `scale` are s.
  template <class L>
  [[gnu::always_inline]] static typename L::Reg weights(typename L::Reg u, typename L::Reg scale) {
    if constexpr (F::kOffset == 0) {
      // No product is more than 255, so that two of them side by side are one multiplication.
      return L::multiply_words(u, scale);
    } else {
      const auto low = L::fill16(0xff), high = L::fill16(0xff00), q = L::sub8(u, L::fill8(F::kOffset));
      const auto even = L::multiply_words(L::bit_and(q, low), scale),
                 odd = L::multiply_words(L::bit_and(q, high), scale);
      return L::sub8(L::bit_or(L::bit_and(even, low), odd), L::fill8(256 - kBias));
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
