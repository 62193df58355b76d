// Rows as they are in the file, brought into the interleaved form a chunk at a time: 16 rows of it lie in the
// first-level cache, where the kernels for interleaved weights unpack them.
//
// Transposing bytes as they are is cheaper than transposing the weights they hold, which are up to four times as many.
#pragma once

#include "cpu/kernels/x86/interleaved_chunk.hpp"

namespace quantlinear::cpu {
namespace {

/// 16 bytes of each row of a register, at p of the first, to four registers of dwords: row by row side by side, one
/// plane (RowLanes::kPlane) further with each.
template <class L>
[[gnu::always_inline]] inline void interleave_16_bytes(const std::uint8_t* p, const Rows8& rows, std::uint8_t* out) {
  asm("" : "+r"(p));  // else compilers keep a pointer for each row, more than there are registers
  const auto r0 = L::template load_fours<0>(p, rows), r1 = L::template load_fours<1>(p, rows);
  const auto r2 = L::template load_fours<2>(p, rows), r3 = L::template load_fours<3>(p, rows);
  const auto a = L::low_dwords(r0, r1), b = L::high_dwords(r0, r1);
  const auto c = L::low_dwords(r2, r3), d = L::high_dwords(r2, r3);
  constexpr std::size_t kPlane = RowLanes<L>::kPlane;
  L::store(out, L::low_qwords(a, c));
  L::store(out + kPlane, L::high_qwords(a, c));
  L::store(out + 2 * kPlane, L::low_qwords(b, d));
  L::store(out + 3 * kPlane, L::high_qwords(b, d));
}

/// The memory of such a chunk.
template <class F>
class RowsInCache {
 public:
  /// The first `groups` groups of 32 weights of 16 rows whose chunk begins at p, p + stride, ...
  template <class L>
  [[gnu::always_inline]] InterleavedChunk<F> take(const std::uint8_t* p, std::size_t stride, int groups) {
    constexpr int kGroups = F::kBlockElements / 32;
    for (std::size_t b = 0; static_cast<int>(b) * kGroups < groups; ++b) {
      take_scales<L>(p, stride, b);
#pragma GCC unroll 1
      for (std::size_t row = 0; row < kInterleavedRows; row += L::kRows) {
        if constexpr (kTurnsOfRows<F, L>) asm volatile("" : "+r"(row));
        take_pieces<L, 0, kPieces>(p, stride, b, row);
      }
    }
    return chunk();
  }
  /// Share J of eight of that for super-blocks, where a register has all rows.
  template <class L, int J>
  [[gnu::always_inline]] void take_share(const std::uint8_t* p, std::size_t stride) {
    static_assert(Chunk::kBlocks == 1 && L::kRows == kInterleavedRows);
    if constexpr (J == 0) take_scales<L>(p, stride, 0);
    take_pieces<L, J * kPieces / 8, (J + 1) * kPieces / 8>(p, stride, 0, 0);
  }
  /// What was taken.
  [[nodiscard]] InterleavedChunk<F> chunk() const { return {scales_, words_}; }

 private:
  using Chunk = InterleavedChunk<F>;
  /// Where the bytes that are no scale apart begin in a block, and how many they are.
  static constexpr std::size_t kFirst = Chunk::kApart != 0 && F::kScaleAt == 0 ? 2 : 0;
  static constexpr int kBytes = F::kBlockBytes - static_cast<int>(Chunk::kApart);
  static constexpr int kPieces = (kBytes + 15) / 16;
  static_assert(kBytes >= 16 && kBytes % 4 == 0 && (F::kScaleAt == 0 || F::kScaleAt == kBytes || Chunk::kApart == 0));

  /// Pieces Begin .. End - 1 of sixteen bytes of block b. The last one overlaps the one before it where the block is no
  /// multiple of 16.
  template <class L, int Begin, int End>
  [[gnu::always_inline]] void take_pieces(const std::uint8_t* p, std::size_t stride, std::size_t b, std::size_t row) {
    const Rows8 rows(p, stride, 0, 8);
    const std::uint8_t* block = p + b * F::kBlockBytes;
    unroll<End - Begin>([&]<int I>() __attribute__((always_inline)) {
      constexpr int kEnd = 16 * (Begin + I + 1), kAt = kEnd <= kBytes ? kEnd - 16 : kBytes - 16;
      interleave_16_bytes<L>(block + row * stride + kFirst + kAt, rows,
                             words_ + b * Chunk::kWordBytes + 4 * row + kInterleavedRows * kAt);
    });
  }
  /// The scales of block b, if they stand apart: halves of 16 rows.
  template <class L>
  [[gnu::always_inline]] void take_scales(const std::uint8_t* block, std::size_t stride, std::size_t b) {
    if constexpr (Chunk::kApart == 0) return;
    const std::uint8_t* p = block + b * F::kBlockBytes + F::kScaleAt;
    std::uint8_t* out = scales_ + b * Chunk::kScaleBytes;
    if constexpr (L::kRows < kInterleavedRows) {
      take_eights(p, stride, out);
    } else {
      take_fours(p, stride, out);
    }
  }
  /// Eight to a store, by vector instructions, of which 8 rows a register leave fewer idle than integer ones.
  [[gnu::always_inline]] static void take_eights(const std::uint8_t* p, std::size_t stride, std::uint8_t* out) {
    const Rows8 rows(p, stride, 0, 8);
    unroll<kInterleavedRows / 8>([&]<int I>() __attribute__((always_inline)) {
      const std::uint8_t* d = p + 8 * I * stride;
      asm("" : "+r"(d));  // as in interleave_16_bytes
      __m128i eight = _mm_cvtsi32_si128(formats::le16(d));
      unroll<7>([&]<int J>() __attribute__((always_inline)) {
        eight = _mm_insert_epi16(eight, formats::le16(rows.template row<J + 1>(d)), J + 1);
      });
      _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * I), eight);
    });
  }
  /// Four to a store. Reads two bytes before those of odd rows.
  [[gnu::always_inline]] static void take_fours(const std::uint8_t* p, std::size_t stride, std::uint8_t* out) {
    unroll<kInterleavedRows / 4>([&]<int I>() __attribute__((always_inline)) {
      const std::uint8_t* d = p + 4 * I * stride;
      const auto two = [&](const std::uint8_t* even, const std::uint8_t* odd) -> std::uint64_t {
        return formats::le16(even) | (formats::le32(odd - 2) & 0xffff0000u);
      };
      const std::uint64_t four = two(d, d + stride) | two(d + 2 * stride, d + 3 * stride) << 32;
      std::memcpy(out + 8 * I, &four, 8);
    });
  }

  alignas(64) std::uint8_t scales_[Chunk::kApart != 0 ? Chunk::kBlocks * Chunk::kScaleBytes : 1];
  alignas(64) std::uint8_t words_[Chunk::kBlocks * Chunk::kWordBytes];
};

}  // namespace
}  // namespace quantlinear::cpu
