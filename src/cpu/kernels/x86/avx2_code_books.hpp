// Code books on AVX2: what is taken from a whole block by vectors, and the weights of a group.
#pragma once

#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

template <class F>
struct Avx2CodeBook {
  /// Formats of magnitudes and signs: these go to the activations.
  static constexpr bool kBySigns = requires(const std::uint8_t* b) { F::template all_signs<V>(b); };
  /// Formats whose indices have more than eight bits.
  static constexpr bool kIndexed = requires(const std::uint8_t* b) { F::template index_words<V, 0>(b); };
  /// Formats that add something to each eight weights.
  static constexpr bool kDeltas = requires(const std::uint8_t* b) { F::template all_deltas<V>(b); };

  /// Read again from memory: of eight rows at a time, as a load of what was stored just before takes long.
  struct Ahead {
    static constexpr int kIndices = [] {
      if constexpr (kIndexed) {
        return static_cast<int>(256 / sizeof(F::kEntries[0]));
      } else {
        return 0;
      }
    }();
    alignas(32) std::uint8_t signs[kBySigns ? 32 : 1];  ///< bit i of byte g: weight 8g + i is negative
    alignas(32) std::uint8_t deltas[kDeltas ? 32 : 1];  ///< byte g is added to weights 8g .. 8g + 7
    alignas(32) std::uint16_t index[kIndexed ? kIndices : 1];

    [[gnu::always_inline]] void take(const std::uint8_t* block) {
      if constexpr (kBySigns) store256(signs, F::template all_signs<V>(block));
      if constexpr (kDeltas) store256(deltas, F::template all_deltas<V>(block));
      if constexpr (kIndexed) {
        unroll<kIndices / 16>([&]<int I>() __attribute__((always_inline)) {
          store256(index + 16 * I, F::template index_words<V, I>(block));
        });
      }
    }
    /// Weights 32J .. 32J + 31: their magnitudes, or u where there are no signs.
    template <int J>
    [[gnu::always_inline]] __m256i weights(const std::uint8_t* block) const {
      if constexpr (!kIndexed) {
        return F::template magnitudes<V, J>(block);
      } else if constexpr (kIndices == 64) {
        const std::uint16_t* i = index + 8 * J;
        return V::u32x8(F::kEntries[i[0]], F::kEntries[i[1]], F::kEntries[i[2]], F::kEntries[i[3]], F::kEntries[i[4]],
                        F::kEntries[i[5]], F::kEntries[i[6]], F::kEntries[i[7]]);
      } else {
        const std::uint16_t* i = index + 4 * J;
        const __m256i entries = V::u64x4(F::kEntries[i[0]], F::kEntries[i[1]], F::kEntries[i[2]], F::kEntries[i[3]]);
        if constexpr (kDeltas) {
          return V::add(entries, V::each_eight_times(formats::le32(deltas + 4 * J)));
        } else {
          return entries;
        }
      }
    }
    /// Below zero where one of these is negative, else above.
    template <int J>
    [[gnu::always_inline]] __m256i signs_of() const {
      // Added to a single bit or none: bit 7 of the sum is that bit, and the sum is not zero.
      constexpr auto kEach = static_cast<long long>(0x8040201008040201), kAdded = 0x01406070787c7e7fLL;
      const __m256i bytes = V::each_eight_times(formats::le32(signs + 4 * J));
      return _mm256_add_epi8(_mm256_and_si256(bytes, _mm256_set1_epi64x(kEach)), _mm256_set1_epi64x(kAdded));
    }
  };
};

}  // namespace
}  // namespace quantlinear::cpu
