// How each format wants its activations: the same for every instruction set, since it decides bits.
#pragma once

#include "cpu/activations.hpp"
#include "formats/format.hpp"

namespace quantlinear::cpu {
namespace {

/// Largest |q * s_j| of a super-block format.
template <class F>
constexpr int max_scaled_weight() {
  const int low = F::kOffset, high = F::kMaxU - F::kOffset;
  return (low > high ? low : high) * F::kMaxScale;
}

/// a16: the largest 2^b - 1 with which the exact sum over a block still fits int32; at most 15 bits.
template <class F>
constexpr std::uint16_t a16_max_q() {
  if constexpr (F::kFamily == formats::Family::super_block) {
    std::int64_t q = 32767;
    while (256 * max_scaled_weight<F>() * q > 2147483647) q >>= 1;
    return static_cast<std::uint16_t>(q);
  } else {
    static_assert(std::int64_t{32} * 255 * 32767 <= 2147483647);
    return 32767;
  }
}

/// Values of the activations of format F in precision P.
template <class F, Precision P>
constexpr ActivationSpec activation_spec() {
  if constexpr (F::kFamily == formats::Family::float_weight || P == Precision::f32) {
    return {Precision::f32, 256, 0};
  } else {
    const std::uint16_t block = F::kFamily == formats::Family::super_block ? 256 : 32;
    return {P, block, P == Precision::a8 ? std::uint16_t{127} : a16_max_q<F>()};
  }
}

}  // namespace
}  // namespace quantlinear::cpu
