#include <cpuid.h>
#include <immintrin.h>

#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

constexpr int chains = 12;

void dot_bytes(unsigned long iterations) {
  __m256i sum[chains] = {};
  const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum[c]) : "x"(a), "x"(b));
  }
}

void dot_words(unsigned long iterations) {
  __m256i sum[chains] = {};
  const __m256i a = _mm256_set1_epi16(3), b = _mm256_set1_epi16(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) asm volatile("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum[c]) : "x"(a), "x"(b));
  }
}

constexpr Sequence table[] = {
    {"vpdpbusd ymm", "avxvnni", 0, 0, chains, 32, dot_bytes},
    {"vpdpwssd ymm", "avxvnni", 1, 0, chains, 16, dot_words},
};

/// Compilers differ in whether __builtin_cpu_supports knows this one: leaf 7, subleaf 1, eax bit 4.
bool has_avxvnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

}  // namespace

SequenceTable avxvnni_sequences() {
  __builtin_cpu_init();
  const bool usable = __builtin_cpu_supports("avx2") && has_avxvnni();
  return {table, usable ? int{sizeof table / sizeof *table} : 0};
}

}  // namespace quantlinear::limits
