// Few activation rows against interleaved weights: 16 rows at a time, one stream of memory, lanes are rows.
//
// No sum crosses lanes, so there is nothing to transpose and the f32 step needs no gathering of scales. Integer sums
// and f32 steps are those of every other kernel.
#pragma once

#include "cpu/kernels/x86/row_lanes.hpp"

namespace quantlinear::cpu {
namespace {

/// How far ahead of the block at hand the stream is fetched, in bytes.
inline constexpr std::size_t kInterleavedPrefetch = 16384;

/// A format that can be multiplied in interleaved form (formats/format.hpp).
template <class F>
concept Interleavable = requires { F::kScaleAt; };

/// Whether a weight is put together from several fields of its super-block (Q3_K, Q5_K, Q6_K). With 8 rows a register
/// unpacking these takes longer than interleaving saves: measured, docs/performance.md.
template <class F>
inline constexpr bool kSeveralFields =
    F::kFamily == Family::super_block && (F::kMaxU == 7 || F::kMaxU == 31 || F::kMaxU == 63);

template <class F>
constexpr InterleavedBlock interleaved_block() {
  return {F::kBlockBytes, F::kScaleAt};
}

/// Where the bytes of one group of 16 rows are.
template <class F>
struct InterleavedGroup {
  static constexpr InterleavedBlock kBlock = interleaved_block<F>();
  static constexpr std::size_t kApart = kBlock.scale_apart() ? 2 : 0;
  /// Of one block of 16 rows, without scales that stand apart.
  static constexpr std::size_t kWordBytes = kInterleavedRows * (F::kBlockBytes - kApart);
  const std::uint8_t* scales;
  const std::uint8_t* words;

  InterleavedGroup(const std::uint8_t* group, std::size_t row_bytes)
      : scales(group), words(group + row_bytes / F::kBlockBytes * kInterleavedRows * kApart) {}

  /// Block `b` of the rows from `first_row` on.
  template <class L>
  [[nodiscard]] typename RowLanes<L>::Block block(std::size_t b, std::size_t first_row) const {
    // A scale apart at the front shifts the others' offsets.
    constexpr std::size_t kShift = kApart != 0 && F::kScaleAt == 0 ? kInterleavedRows * kApart : 0;
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

/// sum over pairs of sub-blocks of (t_2i, t_2i+1) * (sums of a over them); t: one byte per sub-block.
template <class F, class L, std::size_t N>
[[gnu::always_inline]] inline typename L::Reg lanes_with_sums(const typename L::Reg (&quads)[N],
                                                              const std::int16_t* sums) {
  typename L::Reg total = L::zero();
  unroll<static_cast<int>(2 * N)>([&]<int I>() __attribute__((always_inline)) {
    constexpr int kByte = 2 * (I % 2);
    total = L::multiply_add_words(total, L::template words<kByte, kByte + 1>(quads[I / 2]), L::broadcast(sums + 2 * I));
  });
  return total;
}

/// Fetches a share of a chunk of 16 rows: bit by bit, since a core waits once too many lines are on their way.
template <class F, class L, int J>
[[gnu::always_inline]] inline void prefetch_share(const std::uint8_t* ahead, std::size_t first_row) {
  constexpr std::size_t kShares = 8 * kInterleavedRows / L::kRows;
  constexpr std::size_t kLines = (kInterleavedRows * F::kBlockBytes + 63) / 64;
  constexpr std::size_t kPerShare = (kLines + kShares - 1) / kShares;
  prefetch<64 * static_cast<int>(kPerShare)>(ahead + 64 * kPerShare * (8 * first_row / L::kRows + J));
}

/// totals[c] += chunk `chunk` of the rows of one register; super-block formats.
template <class F, class L, int C>
[[gnu::always_inline]] inline void lanes_super(const InterleavedGroup<F>& group, std::size_t first_row,
                                               std::size_t chunk, const ChunkX<A8Meta>& x, const std::uint8_t* ahead,
                                               typename L::Floats (&totals)[C]) {
  using Vocabulary = RowLanes<L>;
  using Reg = typename L::Reg;
  const auto block = group.template block<L>(chunk, first_row);
  const auto scales = F::template lane_scales<Vocabulary>(block);
  Reg sums[C];
  for (int c = 0; c < C; ++c) sums[c] = L::zero();
  unroll<8>([&]<int J>() __attribute__((always_inline)) {
    prefetch_share<F, L, J>(ahead, first_row);
    auto again = block;
    asm volatile("" : "+r"(again.p));  // else what groups have in common stays in registers, and others are spilled
    const auto u = F::template group<Vocabulary, J>(again);
    if constexpr (F::kScaleStep == 32) {
      L::template dot<F, 0, 8>(sums, u.q, x, 32 * J, L::template scale<J % 4>(scales.q[J / 4]));
    } else {
      L::template dot<F, 0, 4>(sums, u.q, x, 32 * J, L::template scale<2 * J % 4>(scales.q[J / 2]));
      L::template dot<F, 4, 8>(sums, u.q, x, 32 * J, L::template scale<2 * J % 4 + 1>(scales.q[J / 2]));
    }
  });
  const auto d = group.template scale_pair<L>(chunk, first_row);
  for (int c = 0; c < C; ++c) {
    const auto da = L::fill_floats(x.meta[c].scale[0]);
    const std::int16_t* sums_of_a = F::kScaleStep == 32 ? x.meta[c].sums32 : x.meta[c].sums16;
    if constexpr (F::kOffset != 0 && !L::template kSigned<F>) {
      const Reg by_sums = lanes_with_sums<F, L>(scales.q, sums_of_a);
      sums[c] = L::sub(sums[c], L::multiply(by_sums, L::fill32(F::kOffset)));
    }
    totals[c] = L::step(totals[c], L::multiply_floats(d.low, da), sums[c]);
    if constexpr (F::kHasMin) {
      const Reg by_sums = lanes_with_sums<F, L>(F::template lane_mins<Vocabulary>(block).q, sums_of_a);
      totals[c] = L::step_minus(totals[c], L::multiply_floats(d.high, da), by_sums);
    }
  }
}

/// The same for small blocks of 32: `groups` of them.
template <class F, class L, int C>
[[gnu::always_inline]] inline void lanes_small(const InterleavedGroup<F>& group, std::size_t first_row,
                                               std::size_t chunk, int groups, const ChunkX<A8Meta>& x,
                                               const std::uint8_t* ahead, typename L::Floats (&totals)[C]) {
  using Vocabulary = RowLanes<L>;
#pragma GCC unroll 1
  for (int g = 0; g < groups; ++g) {
    const std::size_t b = 8 * chunk + static_cast<std::size_t>(g);
    constexpr std::size_t kShare = F::kBlockBytes * L::kRows;
    prefetch<static_cast<int>(kShare)>(ahead + kShare * static_cast<std::size_t>(g) + 8 * F::kBlockBytes * first_row);
    const auto u = F::template group<Vocabulary, 0>(group.template block<L>(b, first_row));
    const auto d = group.template scale_pair<L>(b, first_row);
    typename L::Reg sums[C];
    for (int c = 0; c < C; ++c) sums[c] = L::zero();
    L::template dot<F, 0, 8>(sums, u.q, x, 32 * g, L::one());
    for (int c = 0; c < C; ++c) {
      auto sum = sums[c];
      if constexpr (F::kOffset != 0 && !L::template kSigned<F>) {
        sum = L::sub(sum, L::fill32(F::kOffset * x.meta[c].sums32[g]));
      }
      const auto da = L::fill_floats(x.meta[c].scale[g]);
      totals[c] = L::step(totals[c], L::multiply_floats(d.low, da), sum);
      if constexpr (F::kHasMin) {
        totals[c] = L::step(totals[c], L::multiply_floats(d.high, da), L::fill32(x.meta[c].sums32[g]));
      }
    }
  }
}

/// Rows row .. row+15, a whole interleaved group, against C columns from c0 on.
template <class F, class L, int C>
[[gnu::noinline, gnu::flatten]] void gemv_lanes(const ProductArgs& args, std::size_t row, std::size_t c0) {
  alignas(64) float totals[C][kInterleavedRows] = {};
  const InterleavedGroup<F> group(args.weights + row * args.row_bytes, args.row_bytes);
  constexpr std::size_t kChunkBytes = kChunk / F::kBlockElements * F::kBlockBytes * kInterleavedRows;
  const std::uint8_t* stream = args.weights + row * args.row_bytes + kInterleavedPrefetch;
  const std::size_t chunks = chunks_of(args.in_features);
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    ChunkX<A8Meta> x(args.x, chunk, c0);
    const std::size_t left = args.in_features / 32 - 8 * chunk;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
#pragma GCC unroll 1
    for (std::size_t first = 0; first < kInterleavedRows; first += L::kRows) {
      asm volatile("" : "+r"(x.q));  // else the broadcasts of all of x are taken out of the loop and spilled
      typename L::Floats now[C];
      for (int c = 0; c < C; ++c) now[c] = L::load_floats(totals[c] + first);
      if constexpr (F::kFamily == Family::super_block) {
        lanes_super<F, L, C>(group, first, chunk, x, stream + chunk * kChunkBytes, now);
      } else {
        lanes_small<F, L, C>(group, first, chunk, groups, x, stream + chunk * kChunkBytes, now);
      }
      for (int c = 0; c < C; ++c) L::store_floats(totals[c] + first, now[c]);
    }
  }
  for (int c = 0; c < C; ++c) {
    float* out = args.out + (c0 + static_cast<std::size_t>(c)) * args.out_stride + row;
    for (std::size_t i = 0; i < kInterleavedRows; i += L::kRows) {
      auto value = L::load_floats(totals[c] + i);
      if (args.bias != nullptr) value = L::add_floats(value, L::load_floats(args.bias + row + i));
      L::store_floats(out + i, value);
    }
  }
}

/// Whole groups by gemv_lanes, up to kColumns columns a pass; the rows after them, as in the file, by `rest`.
template <class F, class L, int Columns>
void gemv_interleaved(const ProductArgs& args, void (*rest)(const ProductArgs&)) noexcept {
  const std::size_t end = args.row_end < args.interleaved_rows ? args.row_end : args.interleaved_rows;
  for (std::size_t row = args.row_begin; row < end; row += kInterleavedRows) {
    std::size_t c = 0;
    for (; c + Columns <= args.x.m; c += Columns) gemv_lanes<F, L, Columns>(args, row, c);
    if constexpr (Columns > 4) {
      if (c + 4 <= args.x.m) gemv_lanes<F, L, 4>(args, row, c), c += 4;
    }
    if (c + 2 <= args.x.m) gemv_lanes<F, L, 2>(args, row, c), c += 2;
    if (c < args.x.m) gemv_lanes<F, L, 1>(args, row, c);
  }
  if (args.row_end > args.interleaved_rows) {
    ProductArgs last = args;
    if (last.row_begin < args.interleaved_rows) last.row_begin = args.interleaved_rows;
    rest(last);
  }
}

}  // namespace
}  // namespace quantlinear::cpu
