// Tile registers of AMX. Compiled without flags of its own: the instructions are written out.
#include "sequence.hpp"

#if defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace quantlinear::limits {
namespace {

constexpr int chains = 4;  // of eight tile registers, and two of the operands

struct alignas(64) Shapes {
  unsigned char palette = 1, reserved[15] = {};
  unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {16, 16, 16, 16, 16, 16};
};

void dot_bytes(unsigned long iterations) {
  static constexpr Shapes shapes;
  asm volatile("ldtilecfg %0" : : "m"(shapes));
  for (unsigned long i = 0; i < iterations; ++i) {
    asm volatile(
        "tdpbusd %tmm4, %tmm5, %tmm0\n\ttdpbusd %tmm4, %tmm5, %tmm1\n\t"
        "tdpbusd %tmm4, %tmm5, %tmm2\n\ttdpbusd %tmm4, %tmm5, %tmm3");
  }
  asm volatile("tilerelease");
}

// Words are two planes of bytes, on both sides: four products of bytes.
constexpr Sequence table[] = {
    {"tdpbusd, tiles of 16 x 64", "amx", 0, 0, chains, 16 * 16 * 64, dot_bytes},
    {"tdpb[us][us]d, planes of int16", "amx", 1, 0, chains, 16 * 16 * 64 / 4, dot_bytes},
};

bool supported() {
#if defined(__linux__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx >> 24 & 3) != 3) return false;
  constexpr long request_permission = 0x1023, tile_data = 18;  // arch_prctl(2): ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace

SequenceTable amx_sequences() { return {table, supported() ? 2 : 0}; }

}  // namespace quantlinear::limits
