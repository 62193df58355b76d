// What a format file must provide. One file describes one GGUF weight type completely; every kernel
// (dequantisation, GEMV, GEMM panels, each instruction set) is a template over it.
//
// Contract of `struct X` in src/formats/x.hpp:
//
//   kType            the GgufQuantType
//   kBlockElements   weights per block;  kBlockBytes  bytes per block
//   kFamily          Family::float_weight, small_block or super_block
//   static void dequantize(const uint8_t* block, float* out)
//                    the definition of the format: scalar, in the format's own order of f32
//                    operations, bit-identical to ggml. This is what the golden data convicts.
//
// The integer form (small_block and super_block), used by all other kernels. A weight is
//   super_block:  w = d * s_j * q - dmin * m_j          (256 weights, integer s_j and m_j per kScaleStep)
//   small_block:  w = d_j * q + m                       (f32 d_j per kScaleStep, m only if kHasMin)
// with q = u - kOffset and u an unsigned byte in 0 .. kMaxU:
//   kMaxU, kOffset   the tightest constants (they decide how many products fit 16 bits)
//   kMinU            optional: the least u, if it is not 0
//   kScaleStep       weights per scale: 16 or 32 (small_block with one scale a block: 32)
//   kHasMin          whether the m term exists
//   template <class V, int J> static V::U8x32 group(const uint8_t* block)
//                    the u of weights 32J .. 32J+31, in order
// super_block only:
//   kMaxScale        largest |s_j|; a power of two above 1 only where just the negative one is that large
//   kFactor          power of two folded out of d: the true d is kFactor * half(d_bits(block))
//   static uint16_t d_bits(const uint8_t* block)                  IEEE half
//   static uint16_t dmin_bits(const uint8_t* block)               only if kHasMin
//   template <class V> static V::U8x16 scales(const uint8_t* block)   s_j as signed bytes, then anything
//   template <class V> static V::U8x16 mins(const uint8_t* block)     m_j as unsigned bytes < 128; only if kHasMin
// small_block only, one of:
//   static uint16_t d_bits(const uint8_t* block)                  IEEE half, one scale for the whole block, or
//   static float scale(const uint8_t* block, int j)               any other coding, of weights j*kScaleStep ...
//   kExponentAt      optional, with scale: it is 2^(e - 128), e the byte there
//   static uint16_t m_bits(const uint8_t* block)                  IEEE half; only if kHasMin
// small_block of 32 only, optional:
//   template <class V> static Halves<V> halves(typename V::Blocks blocks)
//                    the u of several blocks side by side: weights 0..15 of each, and 16..31 of each, where that is
//                    cheaper than a group after the other
// super_block only, optional, in place of a group of one's own (code_book.hpp makes it of them):
//   template <class V, int J> static V::U8x32 magnitudes(const uint8_t* block)   |q| of weights 32J .. 32J+31
//   template <int J> static uint32_t sign_bits(const uint8_t* block)      bit i is set where weight 32J + i < 0, or
//   template <class V, int J> static uint32_t sign_indices(const uint8_t* block)
//                    four indices of 7 bits; bits above the 28th are ignored
//   template <class V> static V::U8x32 all_signs(const uint8_t* block)
//                    bit i of byte g is set where weight 8g + i < 0
//   kSixBitFieldAt   super_block only: where 8 sub-scales and 8 mins are in a 12-byte field like that of Q4_K, its
//   offset
// super_block only, optional, where 64 weights unpack more cheaply together than as two groups; W is a vocabulary of
// 64-byte registers:
//   template <class W, int J> static W::U8x64 quarter(const uint8_t* block)      the u of 64 weights
//   kQuarterOrder    which, by units of 16 weights: [J][i] is the unit in bytes 16i .. 16i+15 of quarter J, or
//   template <class W, int J> static W::U8x64 paired_quarter(const uint8_t* block)
//                    likewise, in the order of kPairedQuarters, for registers of 64 bytes
//   template <class W> static Iq2Planes<W> planes(const uint8_t* block)
//                    whose plane<P>() is the u of weights 8i + 2P and 8i + 2P + 1 in word i; or Iq3Planes
//                    (code_words.hpp)
// super_block only, optional, where weights are entries of a code book whose indices have more than a byte:
//   kEntries         the book, of 8 or 4 weights an entry
//   template <class V, int I> static V::U8x32 index_words(const uint8_t* block)
//                    indices 16I .. 16I+15
//   template <class V> static V::U8x32 all_deltas(const uint8_t* block)
//                    byte g is what weights 8g .. 8g+7 are more than their entries, if they have no signs
//   template <class W> static W::U8x64 codes(const uint8_t* block)
//                    32 words whose kIndexBits low bits are the indices, and
//   template <class W, int J> static W::U8x64 indexed_weights(U8x64 entries, U8x64 codes, const uint8_t* block)
//                    the u of weights 64J .. 64J+63 of their entries
// Optional, where the bytes of 4 consecutive weights stand in the same 4 bytes of one or several fields, so that many
// rows can be interleaved four bytes at a time (cpu/interleaved_layout.hpp) and unpacked by the same code:
//   kScaleAt         byte offset of d; in blocks of 4i + 2 bytes it stands alone, else it is the low half of an aligned
//                    dword whose high half is dmin or m, if the format has one
//   group            takes a typename V::Block instead of the pointer, and offsets that are multiples of 4 once d is
//                    taken out
//   kTurnGroups, template <class V, int J> static V::U8x32 turn_group(typename V::Block, int turn)
//                    super_block only, for AVX2, whose kernels of interleaved rows loop over turns: after so many
//                    groups the same fields come again, further on; group J of turn `turn`
//   template <class V> static Quads<V, N> lane_scales(typename V::Block), lane_mins(typename V::Block)
//                    super_block only: the s_j as signed, the m_j as unsigned bytes, four of every row in a register
//
// In every format d has at most 11 significant bits, s_j at most 7 and q at most 7, so d * s_j is
// exact in f32, and so is (d * s_j) * q but for one rounding at the very end: the integer form and
// the format's own order of operations give the same bits. The tests check this for all types.
//
// V is the vocabulary of an instruction set (src/cpu/isa): ~16 byte operations. Everything here
// has internal linkage, so that code compiled for one instruction set can never be merged with
// another's by the linker.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quantlinear/quant_type.hpp"

namespace quantlinear::formats {

enum class Family : std::uint8_t { float_weight, small_block, super_block };

namespace {

/// Weights of several blocks of 32: 0..15 of each, and 16..31 of each.
template <class V>
struct Halves {
  typename V::Sixteens first, second;
};
/// Of blocks whose low nibbles are weights 0..15 and whose high nibbles are 16..31.
template <class V>
inline Halves<V> nibble_halves(typename V::Blocks blocks) {
  const auto bytes = V::sixteens(blocks);
  return {V::bit_and(bytes, V::fill(15)), V::bit_and(V::template shr<4>(bytes), V::fill(15))};
}

/// Units of 16 weights in the quarters of a super-block.
struct QuarterOrder {
  int unit[4][4];
  friend constexpr bool operator==(const QuarterOrder&, const QuarterOrder&) = default;
};
/// 32 bytes hold 64 weights, low nibbles the first 32.
inline constexpr QuarterOrder kNibbleQuarters = {{{0, 1, 4, 5}, {2, 3, 6, 7}, {8, 9, 12, 13}, {10, 11, 14, 15}}};
/// The first and the last 16 of every other group of 32: quarters 0 and 1, 2 and 3 have the same groups in the same
/// places.
inline constexpr QuarterOrder kPairedQuarters = {{{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}}};
/// 32 bytes hold 128 weights, bits 0 and 1 the first 32, and so on.
inline constexpr QuarterOrder kTwoBitQuarters = {{{0, 1, 8, 9}, {2, 3, 10, 11}, {4, 5, 12, 13}, {6, 7, 14, 15}}};
/// Weights in order.
inline constexpr QuarterOrder kPlainQuarters = {{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}, {12, 13, 14, 15}}};

/// N registers of V with four bytes of every row each: sub-scales or mins 4i .. 4i+3 in the i-th.
template <class V, int N>
struct Quads {
  typename V::Quad q[N];
};

// File bytes are little-endian and unaligned: never cast, always copy or assemble. A copy is one load; compilers find
// the same in shifted bytes only where the value has a single use.
template <class Word>
inline Word little_endian(const std::uint8_t* p) noexcept {
  Word value{};
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, p, sizeof value);
  } else {
    for (std::size_t i = 0; i < sizeof value; ++i) value = static_cast<Word>(value | (Word{p[i]} << (8 * i)));
  }
  return value;
}
inline std::uint16_t le16(const std::uint8_t* p) noexcept { return little_endian<std::uint16_t>(p); }
inline std::uint32_t le32(const std::uint8_t* p) noexcept { return little_endian<std::uint32_t>(p); }
inline std::uint64_t le64(const std::uint8_t* p) noexcept { return little_endian<std::uint64_t>(p); }

inline float bits_to_float(std::uint32_t bits) noexcept {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// IEEE half to f32, exact; NaNs become quiet with the payload kept, as hardware conversions do.
inline float half_to_float(std::uint16_t half) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) {
    const std::uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
    return bits_to_float(sign | 0x7f800000u | quiet | (mantissa << 13));
  }
  return bits_to_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace
}  // namespace quantlinear::formats
