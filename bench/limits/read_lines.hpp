// The loops that measure streamed reading; included by files with different compiler flags, hence
// the anonymous namespace.
#pragma once

#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

/// XORs `words` 64-bit words as `Streams` streams side by side, prefetching `Ahead` lines ahead (0: not).
template <unsigned Streams, unsigned Ahead>
[[gnu::noinline]] unsigned long read_lines(const unsigned long* data, unsigned long words) {
  using Half = unsigned long __attribute__((vector_size(32), aligned(32)));
  constexpr unsigned long halves_per_line = 2, words_per_line = 8;
  const unsigned long lines = words / words_per_line / Streams;
  const auto* const halves = reinterpret_cast<const Half*>(data);
  Half sums[Streams] = {};
  for (unsigned long i = 0; i < lines; ++i) {
#pragma GCC unroll 8
    for (unsigned s = 0; s < Streams; ++s) {
      const Half* line = halves + (s * lines + i) * halves_per_line;
      if constexpr (Ahead != 0) __builtin_prefetch(line + Ahead * halves_per_line);
      sums[s] ^= line[0] ^ line[1];
    }
  }
  unsigned long folded = 0;
  for (const Half& sum : sums) folded ^= sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
  return folded;
}

constexpr ReadLoop read_loops[] = {read_lines<1, 0>,  read_lines<2, 0>,  read_lines<4, 0>,
                                   read_lines<1, 64>, read_lines<2, 32>, read_lines<4, 16>};

}  // namespace
}  // namespace quantlinear::limits
