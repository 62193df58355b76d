// What the CPU can do and the operating system lets it do.
#pragma once

#include <cstdint>
#include <string>

namespace quantlinear::cpu {

/// One bit per feature that an instruction set in isa/list.def may require.
enum Feature : std::uint32_t {
  none = 0,
  avx2 = 1u << 0,
  fma = 1u << 1,
  f16c = 1u << 2,
  bmi2 = 1u << 3,
  avx_vnni = 1u << 4,
  avx512 = 1u << 5,  ///< F, BW, DQ and VL
  avx512_vnni = 1u << 6,
  neon_dotprod = 1u << 7,
  neon_i8mm = 1u << 8,
  amx_int8 = 1u << 9,  ///< tile registers, and products of bytes in them
};

/// Features of this machine; register state that the operating system does not save does not count. Linux saves tile
/// registers for processes that ask: where there are any, this asks, once for the whole process.
[[nodiscard]] std::uint32_t detect_features() noexcept;

/// Names of the features in `mask`, e.g. "avx2, fma".
[[nodiscard]] std::string feature_names(std::uint32_t mask);

}  // namespace quantlinear::cpu
