// The 4-bit float (E2M1) that MXFP4 and NVFP4 share, doubled so that its values are integers:
// 0, 1, 2, 3, 4, 6, 8, 12 and, with bit 3 set, their negatives.
#pragma once

#include "formats/format.hpp"

namespace quantlinear::formats {
namespace {

inline constexpr std::int8_t kDoubledFp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// The values plus 12, as bytes.
template <class V>
inline typename V::U8x16 fp4_table() {
  return V::u64x2(0x181412100f0e0d0cu, 0x00040608090a0b0cu);
}

}  // namespace
}  // namespace quantlinear::formats
