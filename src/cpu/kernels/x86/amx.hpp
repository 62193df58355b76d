// The eight tile registers of AMX: up to 16 rows of 64 bytes each.
//
// Instructions are written out: the intrinsics of GCC 12 do not tell the compiler which memory they read, and let it
// drop the stores before them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantlinear::cpu {
namespace {

/// The shape of every tile register, as the processor reads it.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  constexpr void set(int tile, std::size_t tile_rows, std::size_t bytes) {
    rows[tile] = static_cast<std::uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<std::uint16_t>(bytes);
  }
};

/// The tile registers of this thread, for as long as the object lives; nobody else keeps anything in them.
class TileRegisters {
 public:
  explicit TileRegisters(const TileShapes& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes)); }
  ~TileRegisters() { asm volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

template <int T>
[[gnu::always_inline]] inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(T));
}
/// Rows `stride` bytes apart.
template <int T>
[[gnu::always_inline]] inline void tile_load(const void* rows, std::size_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(T), "r"(rows), "r"(stride) : "memory");
}
template <int T>
[[gnu::always_inline]] inline void tile_store(void* rows, std::size_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(rows), "r"(stride) : "memory");
}
/// C[i][j] += sum over k of A[i][k] * B[k / 4][j][k % 4], bytes times bytes.
template <int C, int A, bool SignedA, int B, bool SignedB>
[[gnu::always_inline]] inline void tile_dot() {
  if constexpr (SignedA && SignedB) {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  } else if constexpr (SignedA) {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  } else if constexpr (SignedB) {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  } else {
    asm volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
}

}  // namespace
}  // namespace quantlinear::cpu
