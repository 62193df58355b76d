#include "cpu/cpu_features.hpp"

#include <cstddef>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace quantlinear::cpu {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

constexpr bool bit(unsigned value, int position) { return ((value >> position) & 1u) != 0; }

std::uint64_t saved_state() {
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | (std::uint64_t{high} << 32);
}

/// Eight tile registers of 16 rows x 64 bytes, for this process.
bool has_tiles([[maybe_unused]] std::uint64_t saved) {
#if defined(__linux__)
  constexpr std::uint64_t kTileState = 3U << 17;  // their configuration and their data
  if ((saved & kTileState) != kTileState) return false;
  const Registers palette = cpuid(0x1d, 1);
  if (palette.ebx != (8U << 16 | 64U) || (palette.ecx & 0xffffU) != 16) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(2): ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

}  // namespace

std::uint32_t detect_features() noexcept {
  std::uint32_t found = 0;
#if defined(__x86_64__)
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1);
  const bool has_xgetbv = bit(one.ecx, 27);
  const std::uint64_t saved = has_xgetbv ? saved_state() : 0;
  const bool ymm = (saved & 0x6) == 0x6;    // XMM and the upper halves of YMM
  const bool zmm = (saved & 0xe6) == 0xe6;  // and mask registers, ZMM halves, ZMM16..31
  if (bit(seven.ebx, 8)) found |= bmi2;
  if (ymm && bit(one.ecx, 28)) {
    if (bit(one.ecx, 12)) found |= fma;
    if (bit(one.ecx, 29)) found |= f16c;
    if (bit(seven.ebx, 5)) found |= avx2;
    if (bit(seven_one.eax, 4)) found |= avx_vnni;
  }
  if (zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31)) {
    found |= avx512;
    if (bit(seven.ecx, 11)) found |= avx512_vnni;
  }
  if (bit(seven.edx, 24) && bit(seven.edx, 25) && has_tiles(saved)) found |= amx_int8;
#elif defined(__aarch64__) && defined(__linux__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) found |= neon_dotprod;
  if ((getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0) found |= neon_i8mm;
#endif
  return found;
}

std::string feature_names(std::uint32_t mask) {
  constexpr std::pair<Feature, const char*> kNames[] = {{avx2, "avx2"},
                                                        {fma, "fma"},
                                                        {f16c, "f16c"},
                                                        {bmi2, "bmi2"},
                                                        {avx_vnni, "avx_vnni"},
                                                        {avx512, "avx512 (f, bw, dq, vl)"},
                                                        {avx512_vnni, "avx512_vnni"},
                                                        {neon_dotprod, "dotprod"},
                                                        {neon_i8mm, "i8mm"},
                                                        {amx_int8, "amx_int8"}};
  std::string names;
  for (const auto& [feature, name] : kNames) {
    if ((mask & feature) == 0) continue;
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names;
}

}  // namespace quantlinear::cpu
