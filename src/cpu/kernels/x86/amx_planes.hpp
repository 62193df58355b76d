// Weights of super-blocks for the tile registers: the u of a byte panel become whole weights, sub-scale and offset
// applied, as one or two planes of bytes. Then a product over a whole super-block is a sum of bytes times bytes, with
// nothing to scale in between.
//
//   w = s * (u - offset) = sum over planes of plane[p] << (p * kShift)
//     without scales    one plane, u - offset
//     with mins         sub-scales are positive and offsets zero: plane p is u times digit p of s, to the base 8, two
//                       bytes a multiplication; one plane where u * s fits a byte
//     |w| <= 128        one plane, of -w where +128 occurs and -128 does not (kMaxScale, formats/format.hpp)
//     others            the low byte of w, unsigned, and the high one, signed
#pragma once

#include "cpu/kernels/specs.hpp"
#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

template <class F>
struct Planes {
  using Panel = BytePanel<32>;
  /// The second plane, in the layout of the panel.
  struct Second {
    alignas(64) std::uint8_t u[kChunk / 4][Panel::kRows][4];
  };

  static constexpr bool kDigits = F::kHasMin;
  static constexpr bool kPlain = F::kMaxScale == 1;
  /// kMaxScale is a power of two where only the negative one is that large.
  static constexpr bool kNegated = !kDigits && !kPlain && F::kOffset * F::kMaxScale == 128;

  static constexpr int kCount = kPlain || kNegated || (kDigits && F::kMaxU * F::kMaxScale <= 255) ? 1 : 2;
  static constexpr int kShift = kDigits ? 3 : 8;
  /// Of plane p.
  static constexpr bool signed_plane(int p) { return !kDigits && p == kCount - 1; }

  static_assert(!kPlain || (F::kMaxU - F::kOffset <= 127 && F::kOffset <= 128));
  static_assert(!kDigits ||
                (F::kOffset == 0 && F::kMaxU * (kCount == 1 ? F::kMaxScale : 7) <= 255 && F::kMaxScale <= 63));

  /// The first plane takes the place of the u, the second one stands beside it.
  [[gnu::noinline]] static void fold(Panel& panel, Second& second) {
    if constexpr (kPlain) {
      if constexpr (F::kOffset != 0) {
        const __m512i offset = _mm512_set1_epi8(static_cast<char>(F::kOffset));
        for (std::size_t k4 = 0; k4 < kChunk / 4; ++k4) {
          for (int half = 0; half < 2; ++half) {
            void* u = panel.u[k4][16 * half];
            _mm512_store_si512(u, _mm512_sub_epi8(_mm512_load_si512(u), offset));
          }
        }
      }
    } else {
      constexpr int kSteps = F::kScaleStep / 4;
      for (int j = 0; j < 256 / F::kScaleStep; ++j) {
        for (int half = 0; half < 2; ++half) {
          const __m512i scale = _mm512_load_si512(&panel.scales.sub_scale[j][16 * half]);
          for (int k4 = j * kSteps; k4 < (j + 1) * kSteps; ++k4) {
            fold_register(panel.u[k4][16 * half], second.u[k4][16 * half], scale);
          }
        }
      }
    }
  }

 private:
  [[gnu::always_inline]] static void fold_register(void* first, void* second, __m512i scale) {
    const __m512i u = _mm512_load_si512(first), low_bytes = _mm512_set1_epi16(0xff);
    if constexpr (kDigits) {
      // No product is more than 255, so that two of them side by side are one multiplication.
      if constexpr (kCount == 1) {
        _mm512_store_si512(first, _mm512_mullo_epi16(u, scale));
      } else {
        _mm512_store_si512(first, _mm512_mullo_epi16(u, _mm512_and_si512(scale, _mm512_set1_epi16(7))));
        _mm512_store_si512(second, _mm512_mullo_epi16(u, _mm512_srli_epi16(scale, 3)));
      }
    } else {
      const __m512i offset = _mm512_set1_epi16(F::kOffset);
      const auto weights = [&](__m512i words) {
        const __m512i q = kNegated ? _mm512_sub_epi16(offset, words) : _mm512_sub_epi16(words, offset);
        return _mm512_mullo_epi16(q, scale);
      };
      const __m512i even = weights(_mm512_and_si512(u, low_bytes)), odd = weights(_mm512_srli_epi16(u, 8));
      const auto bytes = [&](__m512i a, __m512i b) {  // the low bytes of words a, the high ones of words b
        return _mm512_ternarylogic_epi32(low_bytes, a, b, 0xca);
      };
      _mm512_store_si512(first, bytes(even, _mm512_slli_epi16(odd, 8)));
      if constexpr (kCount == 2) _mm512_store_si512(second, bytes(_mm512_srli_epi16(even, 8), odd));
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
