// How 64 weights of a super-block come into a register.
#pragma once

#include "cpu/isa/avx512_vocabulary.hpp"
#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

inline __m512i load512(const void* p) { return _mm512_loadu_si512(p); }

template <class F>
struct Avx512Unpack {
  using W = Avx512Vocabulary;
  /// Code books that are looked up in registers.
  static constexpr bool kByPlanes = requires(const std::uint8_t* b) { F::template planes<W>(b); };
  /// Larger code books: eight weights at a time, by indices of more than a byte.
  static constexpr bool kIndexed = requires(const std::uint8_t* b) { F::template codes<W>(b); };
  /// 64 weights together, in an order of their own.
  static constexpr bool kByQuarters = requires(const std::uint8_t* b) { F::template quarter<W, 0>(b); };

  /// The same in an order that saves multiplications.
  static constexpr bool kByPairs = requires(const std::uint8_t* b) { F::template paired_quarter<W, 0>(b); };

  static constexpr formats::QuarterOrder kOrder = [] {
    if constexpr (kByPairs) {
      return formats::kPairedQuarters;
    } else if constexpr (kByQuarters) {
      return F::kQuarterOrder;
    } else {
      return formats::kPlainQuarters;
    }
  }();

  /// Quarter J.
  template <int J>
  [[gnu::always_inline]] static __m512i weights(const std::uint8_t* block) {
    if constexpr (kByPairs) {
      return F::template paired_quarter<W, J>(block);
    } else if constexpr (kByQuarters) {
      return F::template quarter<W, J>(block);
    } else {
      return W::join(F::template group<V, 2 * J>(block), F::template group<V, 2 * J + 1>(block));
    }
  }
  /// A function of J: quarter or plane J of the block.
  [[gnu::always_inline]] static auto weights_of(const std::uint8_t* block) {
    if constexpr (kByPlanes) {
      return [planes = F::template planes<W>(block)]<int J>()
                 __attribute__((always_inline)) { return planes.template plane<J>(); };
    } else {
      return [block]<int J>() __attribute__((always_inline)) { return weights<J>(block); };
    }
  }

  /// The indices of a block, by vectors, which are read again from memory: of eight rows at a time, as a load of what
  /// was stored just before takes long.
  struct Indices {
    __m512i codes;
    alignas(64) std::uint16_t index[32];

    [[gnu::always_inline]] void take(const std::uint8_t* block) {
      codes = F::template codes<W>(block);
      constexpr std::uint16_t kMask = (1U << F::kIndexBits) - 1;
      _mm512_store_si512(index, W::and_words(codes, kMask));
    }
    template <int J>
    [[gnu::always_inline]] __m512i quarter(const std::uint8_t* block) const {
      const std::uint16_t* i = index + 8 * J;
      const auto four = [&](int n) {
        return V::u64x4(F::kEntries[i[n]], F::kEntries[i[n + 1]], F::kEntries[i[n + 2]], F::kEntries[i[n + 3]]);
      };
      return F::template indexed_weights<W, J>(W::join(four(0), four(4)), codes, block);
    }
  };
};

}  // namespace
}  // namespace quantlinear::cpu
