#include <immintrin.h>

#include "read_lines.hpp"
#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

constexpr int chains = 12;  // independent accumulators: 12 + operands + temporaries fit 16 registers

void fma(unsigned long iterations) {
  __m256 sum[chains] = {};
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) asm volatile("vfmadd231ps %2, %1, %0" : "+x"(sum[c]) : "x"(a), "x"(b));
  }
}

void madd_words(unsigned long iterations) {
  __m256i sum[chains] = {};
  const __m256i a = _mm256_set1_epi16(3), b = _mm256_set1_epi16(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) {
      __m256i product;
      asm volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum[c]), "=&x"(product) : "x"(a), "x"(b));
    }
  }
}

void madd_bytes(unsigned long iterations) {
  __m256i sum[chains] = {};
  const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) {
      __m256i product;
      asm volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum[c]), "=&x"(product) : "x"(a), "x"(b));
    }
  }
}

/// Steps products summed in int16, then widened (times a scale) into int32.
template <int Steps>
void madd_bytes_widened(unsigned long iterations) {
  constexpr int groups = 8;
  __m256i sum[groups] = {};
  const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), scale = _mm256_set1_epi16(7);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int g = 0; g < groups; ++g) {
      __m256i words, product;
      asm volatile("vpmaddubsw %2, %1, %0" : "=x"(words) : "x"(a), "x"(b));
#pragma GCC unroll 16
      for (int s = 1; s < Steps; ++s) {
        asm volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(words), "=&x"(product) : "x"(a), "x"(b));
      }
      asm volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum[g]), "=&x"(product) : "x"(words), "x"(scale));
    }
  }
}

constexpr Sequence table[] = {
    {"vfmadd231ps ymm", "avx2", 2, 0, chains, 8, fma},
    {"vpmaddwd + vpaddd ymm", "avx2", 1, 0, chains, 16, madd_words},
    {"vpmaddubsw + vpaddw ymm", "avx2", 0, 1 << 20, chains, 32, madd_bytes},
    {"vpmaddubsw ymm, 8 sums in int16", "avx2", 0, 8, 8 * 8, 32, madd_bytes_widened<8>},
    {"vpmaddubsw ymm, 4 sums in int16", "avx2", 0, 4, 8 * 4, 32, madd_bytes_widened<4>},
    {"vpmaddubsw ymm, 2 sums in int16", "avx2", 0, 2, 8 * 2, 32, madd_bytes_widened<2>},
    {"vpmaddubsw ymm, 1 sum in int16", "avx2", 0, 1, 8 * 1, 32, madd_bytes_widened<1>},
};

}  // namespace

SequenceTable avx2_sequences() {
  __builtin_cpu_init();
  const bool usable = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return {table, usable ? int{sizeof table / sizeof *table} : 0};
}

ReadTable avx2_reads() {
  __builtin_cpu_init();
  return {read_loops, __builtin_cpu_supports("avx2") ? int{sizeof read_loops / sizeof *read_loops} : 0};
}

}  // namespace quantlinear::limits
