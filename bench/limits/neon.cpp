#include <arm_neon.h>
#include <sys/auxv.h>

#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

constexpr int chains = 24;  // of 32 registers

void fma(unsigned long iterations) {
  float32x4_t sum[chains] = {};
  const float32x4_t a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum[c]) : "w"(a), "w"(b));
  }
}

void madd_words(unsigned long iterations) {
  int32x4_t sum[chains] = {};
  const int16x8_t a = vdupq_n_s16(3), b = vdupq_n_s16(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("smlal %0.4s, %1.4h, %2.4h" : "+w"(sum[c]) : "w"(a), "w"(b));
  }
}

void dot_bytes(unsigned long iterations) {
  int32x4_t sum[chains] = {};
  const int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum[c]) : "w"(a), "w"(b));
  }
}

void matrix_bytes(unsigned long iterations) {
  int32x4_t sum[chains] = {};
  const int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
  for (unsigned long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) asm volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum[c]) : "w"(a), "w"(b));
  }
}

constexpr Sequence table[] = {
    {"fmla 4s", "neon", 2, 0, chains, 4, fma},
    {"smlal 4s", "neon", 1, 0, chains, 4, madd_words},
    {"sdot", "dotprod", 0, 0, chains, 16, dot_bytes},
    {"smmla", "i8mm", 0, 0, chains, 32, matrix_bytes},
};

}  // namespace

SequenceTable neon_sequences() {
  const bool dotprod = (getauxval(AT_HWCAP) >> 20 & 1) != 0;
  const bool i8mm = (getauxval(AT_HWCAP2) >> 13 & 1) != 0;
  return {table, !dotprod ? 2 : !i8mm ? 3 : 4};
}

}  // namespace quantlinear::limits
