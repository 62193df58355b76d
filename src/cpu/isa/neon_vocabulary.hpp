// The vocabulary of byte operations on NEON registers (meanings: scalar_vocabulary.hpp).
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace quantlinear::cpu {
namespace {

struct NeonVocabulary {
  using Block = const std::uint8_t*;
  using U8x16 = uint8x16_t;
  /// Two plain members, not uint8x16x2_t: compilers keep those in neighbouring registers and copy to do so.
  struct U8x32 {
    uint8x16_t low, high;
  };

  static U8x32 load32(const std::uint8_t* p) { return {vld1q_u8(p), vld1q_u8(p + 16)}; }
  static U8x16 load16(const std::uint8_t* p) { return vld1q_u8(p); }
  static U8x16 load8(const std::uint8_t* p) { return vcombine_u8(vld1_u8(p), vcreate_u8(0)); }

  static U8x16 u64x2(std::uint64_t a, std::uint64_t b) { return vcombine_u8(vcreate_u8(a), vcreate_u8(b)); }
  static U8x32 u64x4(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
    return {u64x2(a, b), u64x2(c, d)};
  }
  static U8x32 u32x8(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d, std::uint32_t e,
                     std::uint32_t f, std::uint32_t g, std::uint32_t h) {
    const uint32x4_t low = {a, b, c, d}, high = {e, f, g, h};
    return {vreinterpretq_u8_u32(low), vreinterpretq_u8_u32(high)};
  }
  static U8x16 sub16(U8x16 a, std::uint8_t value) { return vsubq_u8(a, vdupq_n_u8(value)); }
  static U8x32 join(U8x16 low, U8x16 high) { return {low, high}; }
  static U8x16 low_half(U8x32 a) { return a.low; }
  static U8x16 high_half(U8x32 a) { return a.high; }
  static U8x32 each_eight_times(std::uint32_t four) {
    const uint8x16_t all = vreinterpretq_u8_u32(vdupq_n_u32(four));
    return {vqtbl1q_u8(all, u64x2(0, 0x0101010101010101u)),
            vqtbl1q_u8(all, u64x2(0x0202020202020202u, 0x0303030303030303u))};
  }
  static U8x32 fill(std::uint8_t value) { return {vdupq_n_u8(value), vdupq_n_u8(value)}; }
  static U8x32 nibbles(const std::uint8_t* p) {
    const U8x16 bytes = load16(p);
    return {vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)};
  }
  static U8x32 mask_from_bits(std::uint32_t bits) {
    // Each byte gets the byte of `bits` that holds its bit, and is tested against that bit.
    const uint8x16_t all = vreinterpretq_u8_u32(vdupq_n_u32(bits));
    const uint8x16_t own = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    return {vtstq_u8(vqtbl1q_u8(all, u64x2(0, 0x0101010101010101u)), own),
            vtstq_u8(vqtbl1q_u8(all, u64x2(0x0202020202020202u, 0x0303030303030303u)), own)};
  }
  static U8x32 value_where(std::uint32_t bits, std::uint8_t value) {
    return bit_and(mask_from_bits(bits), fill(value));
  }

  static U8x32 bit_and(U8x32 a, U8x32 b) { return {vandq_u8(a.low, b.low), vandq_u8(a.high, b.high)}; }
  static U8x32 bit_or(U8x32 a, U8x32 b) { return {vorrq_u8(a.low, b.low), vorrq_u8(a.high, b.high)}; }
  static U8x32 bit_xor(U8x32 a, U8x32 b) { return {veorq_u8(a.low, b.low), veorq_u8(a.high, b.high)}; }
  static U8x32 add(U8x32 a, U8x32 b) { return {vaddq_u8(a.low, b.low), vaddq_u8(a.high, b.high)}; }
  static U8x32 sub(U8x32 a, U8x32 b) { return {vsubq_u8(a.low, b.low), vsubq_u8(a.high, b.high)}; }
  static U8x32 above(U8x32 a, U8x32 b) {
    const auto each = [](uint8x16_t x, uint8x16_t y) {
      return vcgtq_s8(vreinterpretq_s8_u8(x), vreinterpretq_s8_u8(y));
    };
    return {each(a.low, b.low), each(a.high, b.high)};
  }
  template <int N>
  static U8x32 shr(U8x32 a) {
    if constexpr (N == 0) {
      return a;
    } else {
      return {vshrq_n_u8(a.low, N), vshrq_n_u8(a.high, N)};
    }
  }
  template <int N>
  static U8x32 shl(U8x32 a) {
    if constexpr (N == 0) {
      return a;
    } else {
      return {vshlq_n_u8(a.low, N), vshlq_n_u8(a.high, N)};
    }
  }
  static U8x32 lookup(U8x16 table, U8x32 index) {
    return {vqtbl1q_u8(table, index.low), vqtbl1q_u8(table, index.high)};
  }
};

}  // namespace
}  // namespace quantlinear::cpu
