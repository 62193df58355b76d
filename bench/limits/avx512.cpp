#include <immintrin.h>

#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

constexpr int chains = 24;  // of 32 registers

// Not _mm512_set1_*: GCC 12 warns inside its own header.
using Bytes = signed char __attribute__((vector_size(64)));
using Words = short __attribute__((vector_size(64)));
__m512i bytes(signed char value) { return reinterpret_cast<__m512i>(Bytes{} + value); }
__m512i words(short value) { return reinterpret_cast<__m512i>(Words{} + value); }

void fma(unsigned long iterations) {
  __m512 sum[chains] = {};
  const __m512 a = __m512{} + 0.5f, b = __m512{} + 0.25f;
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum[c]) : "v"(a), "v"(b));
  }
}

void madd_words(unsigned long iterations) {
  __m512i sum[chains] = {};
  const __m512i a = words(3), b = words(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) {
      __m512i product;
      asm volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(sum[c]), "=&v"(product) : "v"(a), "v"(b));
    }
  }
}

void madd_bytes(unsigned long iterations) {
  __m512i sum[chains] = {};
  const __m512i a = bytes(3), b = bytes(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) {
      __m512i product;
      asm volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+v"(sum[c]), "=&v"(product) : "v"(a), "v"(b));
    }
  }
}

void dot_bytes(unsigned long iterations) {
  __m512i sum[chains] = {};
  const __m512i a = bytes(3), b = bytes(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum[c]) : "v"(a), "v"(b));
  }
}

void dot_words(unsigned long iterations) {
  __m512i sum[chains] = {};
  const __m512i a = words(3), b = words(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("vpdpwssd %2, %1, %0" : "+v"(sum[c]) : "v"(a), "v"(b));
  }
}

// The VNNI rows last: a CPU may have AVX-512 without them.
constexpr Sequence table[] = {
    {"vfmadd231ps zmm", "avx512", 2, 0, chains, 16, fma},
    {"vpmaddwd + vpaddd zmm", "avx512", 1, 0, chains, 32, madd_words},
    {"vpmaddubsw + vpaddw zmm", "avx512", 0, 1 << 20, chains, 64, madd_bytes},
    {"vpdpbusd zmm", "avx512", 0, 0, chains, 64, dot_bytes},
    {"vpdpwssd zmm", "avx512", 1, 0, chains, 32, dot_words},
};

}  // namespace

SequenceTable avx512_sequences() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return {table, 0};
  return {table, __builtin_cpu_supports("avx512vnni") ? 5 : 3};
}

}  // namespace quantlinear::limits
