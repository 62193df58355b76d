// A chunk of 16 interleaved rows (cpu/interleaved_layout.hpp), in a store or in the first-level cache
// (rows_in_cache.hpp).
#pragma once

#include "cpu/kernels/x86/fetch.hpp"
#include "cpu/kernels/x86/row_lanes.hpp"

namespace quantlinear::cpu {
namespace {

/// A format that can be multiplied in interleaved form (formats/format.hpp).
template <class F>
concept Interleavable = requires { F::kScaleAt; };

/// Whether a weight is put together from several fields of its super-block (Q3_K, Q5_K, Q6_K). Unpacking these in lanes
/// takes long with 8 rows a register.
template <class F>
inline constexpr bool kSeveralFields =
    F::kFamily == Family::super_block && (F::kMaxU == 7 || F::kMaxU == 31 || F::kMaxU == 63);

/// Whether weights are bytes (Q8_0), as in panels: nothing is gained by moving them before they are unpacked.
template <class F>
inline constexpr bool kWholeBytes = F::kMaxU == 255;

/// Whether sixteen rows, of which a register has eight, stay a loop of two turns (its variable is then tied to a
/// register): the code of both, one after the other, is more than a core keeps decoded.
template <class F, class L>
inline constexpr bool kTurnsOfRows = L::kRows < kInterleavedRows && F::kFamily == Family::super_block;

template <class F>
constexpr InterleavedBlock interleaved_block() {
  return {F::kBlockBytes, F::kScaleAt};
}

/// Where the bytes of the chunk are.
template <class F>
struct InterleavedChunk {
  static constexpr std::size_t kBlocks = kChunk / F::kBlockElements;
  static constexpr std::size_t kApart = interleaved_block<F>().scale_apart() ? 2 : 0;
  /// Of one block of 16 rows: scales that stand apart, and the rest.
  static constexpr std::size_t kScaleBytes = kInterleavedRows * kApart;
  static constexpr std::size_t kWordBytes = kInterleavedRows * (F::kBlockBytes - kApart);
  const std::uint8_t* scales;
  const std::uint8_t* words;

  InterleavedChunk(const std::uint8_t* scales_at, const std::uint8_t* words_at) : scales(scales_at), words(words_at) {}
  /// Chunk `chunk` of rows row .. row+15 of a store.
  InterleavedChunk(const ProductArgs& args, std::size_t row, std::size_t chunk) {
    const std::uint8_t* group = args.weights + row * args.row_bytes;
    scales = group + chunk * kBlocks * kScaleBytes;
    words = group + args.row_bytes / F::kBlockBytes * kScaleBytes + chunk * kBlocks * kWordBytes;
  }

  /// Block `b` of the rows from `first_row` on.
  template <class L>
  [[nodiscard]] typename RowLanes<L>::Block block(std::size_t b, std::size_t first_row) const {
    // A scale apart at the front shifts the others' offsets.
    constexpr std::size_t kShift = kApart != 0 && F::kScaleAt == 0 ? kScaleBytes : 0;
    return {words + b * kWordBytes + 4 * first_row - kShift};
  }
  /// Its scale d, and what the format has as its second half: dmin, m.
  template <class L>
  [[nodiscard]] typename L::TwoFloats scale_pair(std::size_t b, std::size_t first_row) const {
    if constexpr (kApart != 0) {
      const auto d = L::halves(scales + 2 * (b * kInterleavedRows + first_row));
      return {d, d};
    } else {
      return L::low_high_halves(RowLanes<L>::quad(block<L>(b, first_row) + F::kScaleAt));
    }
  }
};

/// What is fetched with a chunk of 16 rows, a share for every 32 weights of every register of rows: in a store,
template <class F, class L, CacheLevel Level, int Times = 1>
using AheadInStore = Ahead<InterleavedChunk<F>::kBlocks * F::kBlockBytes * L::kRows / 8, 1, Level, Times,
                           Times == 1 ? Level : CacheLevel::first>;
/// and in the file.
template <class F, class L, CacheLevel Level>
using AheadInFile = Ahead<kRowChunkBytes<F>, L::kRows / 8, Level>;

}  // namespace
}  // namespace quantlinear::cpu
