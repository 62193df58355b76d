// Few activation rows, lanes are rows: 16 rows at a time, interleaved in the store or on their way through the cache.
//
// No sum crosses lanes, so no sum is transposed and the f32 step needs no gathering of scales. Integer sums and f32
// steps are those of every other kernel.
#pragma once

#include <array>

#include "cpu/kernels/x86/column_sums.hpp"
#include "cpu/kernels/x86/rows_in_cache.hpp"

namespace quantlinear::cpu {
namespace {

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

/// Group J of a super-block, unpacked from memory once more: what groups have in common would stay in registers
/// otherwise, and others would be spilled.
template <class F, class L, int J>
[[gnu::always_inline]] inline auto unpack_group(typename RowLanes<L>::Block block) {
  asm volatile("" : "+r"(block.p));
  return F::template group<LaneVocabulary<F, L>, J>(block);
}

/// sums[c] += the products of all groups of a super-block, times their sub-scales. A loop over turns of groups: the
/// code of all of them, one after the other, is more than a core keeps decoded.
template <class F, class L, int C>
[[gnu::always_inline]] inline void add_groups(typename L::Reg (&sums)[C], typename RowLanes<L>::Block block,
                                              const auto& scales, ChunkX<A8Meta> x, auto& ahead) {
  constexpr int kSubBlocks = 256 / F::kScaleStep, kTurns = 8 / F::kTurnGroups;
  typename L::Reg words[kSubBlocks];
  unroll<kSubBlocks>(
      [&]<int I>() __attribute__((always_inline)) { words[I] = L::template words<I % 4, I % 4>(scales.q[I / 4]); });
  const typename L::Reg* of_turn = words;
#pragma GCC unroll 1
  for (int turn = 0; turn < kTurns; ++turn) {
    asm volatile("" : "+r"(turn), "+r"(of_turn), "+r"(x.q) : : "memory");
    unroll<F::kTurnGroups>([&]<int J>() __attribute__((always_inline)) {
      constexpr int kFirst = sub_block_of<F>(J, 0), kSecond = sub_block_of<F>(J, 4);
      ahead.share();
      asm volatile("" : "+r"(block.p));  // as in unpack_group
      const auto unpack = [&]<int I>() __attribute__((always_inline)) {
        return F::template turn_group<LaneVocabulary<F, L, I, I + 1>, J>(block, turn).q[0];
      };
      if constexpr (kFirst == kSecond) {
        L::template dot<F, 0, 8>(sums, unpack, x, 32 * J, of_turn[kFirst]);
      } else {
        L::template dot<F, 0, 4>(sums, unpack, x, 32 * J, of_turn[kFirst]);
        L::template dot<F, 4, 8>(sums, unpack, x, 32 * J, of_turn[kSecond]);
      }
    });
    of_turn += kSubBlocks / kTurns;
    x.q += 32 * F::kTurnGroups;
  }
}
/// sums[c] += the products of group J of a super-block, times their sub-scales, by a four-byte dot product.
template <class F, class L, int J, int C, class Scales>
[[gnu::always_inline]] inline void add_group(typename L::Reg (&sums)[C], typename RowLanes<L>::Block block,
                                             const Scales& scales, const ChunkX<A8Meta>& x) {
  using Reg = typename L::Reg;
  constexpr int kFirst = sub_block_of<F>(J, 0), kSecond = sub_block_of<F>(J, 4);
  const auto u = unpack_group<F, L, J>(block);
  // The second half is unpacked once the first is done with: sums of several columns leave no room for both.
  const auto second = [&]() __attribute__((always_inline)) {
    if constexpr (C > 1) return unpack_group<F, L, J>(block);
    return u;
  };
  const auto add_scaled = [&]<int SubBlock>(const Reg(&part)[C]) __attribute__((always_inline)) {
    const Reg scale = L::template dword<SubBlock % 4>(scales.q[SubBlock / 4]);
    for (int c = 0; c < C; ++c) {
      sums[c] = L::add(sums[c], L::multiply(part[c], scale));
      // Else compilers put multiplications off to the end, and keep all parts.
      if constexpr (F::kMaxScale > 1) asm volatile("" : "+v"(sums[c]));
    }
  };
  Reg low[C], high[C];
  for (int c = 0; c < C; ++c) low[c] = high[c] = L::zero();
  add_products<L, 0, 4>(low, u.q, x, 32 * J);
  if constexpr (kSumsInPairs<F>) {
    add_products<L, 4, 8>(high, second().q, x, 32 * J);
    const Reg pair = L::template words<kFirst % 4, kSecond % 4>(scales.q[kFirst / 4]);
    for (int c = 0; c < C; ++c) sums[c] = L::multiply_add_words(sums[c], L::low_halves(low[c], high[c]), pair);
  } else if constexpr (kFirst == kSecond) {
    add_products<L, 4, 8>(low, second().q, x, 32 * J);
    add_scaled.template operator()<kFirst>(low);
  } else {
    add_scaled.template operator()<kFirst>(low);
    add_products<L, 4, 8>(high, second().q, x, 32 * J);
    add_scaled.template operator()<kSecond>(high);
  }
}

/// totals[c] += a chunk of the rows of one register; super-block formats.
template <class F, class L, int C>
[[gnu::always_inline]] inline void lanes_super(const InterleavedChunk<F>& chunk, std::size_t first_row,
                                               const ChunkX<A8Meta>& x, auto& ahead,
                                               float (&totals)[C][kInterleavedRows]) {
  using Vocabulary = LaneVocabulary<F, L>;
  using Reg = typename L::Reg;
  const auto block = chunk.template block<L>(0, first_row);
  const auto scales = F::template lane_scales<Vocabulary>(block);
  Reg sums[C];
  for (int c = 0; c < C; ++c) sums[c] = L::zero();
  // They stay in memory until they are needed, where registers are short.
  if constexpr (C > 1 && F::kMaxScale > 1) asm volatile("" : "+m"(totals));
  if constexpr (kDotsBytes<L>) {
    unroll<8>([&]<int J>() __attribute__((always_inline)) {
      ahead.share();
      if constexpr (requires { ahead.template interleave<J>(); }) ahead.template interleave<J>();
      add_group<F, L, J>(sums, block, scales, x);
    });
  } else {
    add_groups<F, L>(sums, block, scales, x, ahead);
  }
  const auto d = chunk.template scale_pair<L>(0, first_row);
  typename L::Floats now[C];
  for (int c = 0; c < C; ++c) {
    const auto da = L::fill_floats(x.meta[c].scale[0]);
    const std::int16_t* sums_of_a = F::kScaleStep == 32 ? x.meta[c].sums32 : x.meta[c].sums16;
    if constexpr (F::kOffset != 0 && !L::template kSigned<F>) {
      const Reg by_sums = lanes_with_sums<F, L>(scales.q, sums_of_a);
      sums[c] = L::sub(sums[c], L::multiply(by_sums, L::fill32(F::kOffset)));
    }
    now[c] = L::step(L::load_floats(totals[c] + first_row), L::multiply_floats(d.low, da), sums[c]);
    if constexpr (F::kHasMin) {
      const Reg by_sums = lanes_with_sums<F, L>(F::template lane_mins<Vocabulary>(block).q, sums_of_a);
      now[c] = L::step_minus(now[c], L::multiply_floats(d.high, da), by_sums);
    }
  }
  // Stored after the last column: compilers take it that a store changes bytes of the block, and unpack mins again.
  for (int c = 0; c < C; ++c) L::store_floats(totals[c] + first_row, now[c]);
}

/// The same for small blocks of 32: `groups` of them. sums_of_a: ColumnSums or SumsOnDemand.
template <class F, class L, int C>
[[gnu::always_inline]] inline void lanes_small(const InterleavedChunk<F>& chunk, std::size_t first_row, int groups,
                                               const ChunkX<A8Meta>& x, const auto& sums_of_a, auto& ahead,
                                               float (&all_totals)[C][kInterleavedRows]) {
  typename L::Floats totals[C];
  for (int c = 0; c < C; ++c) totals[c] = L::load_floats(all_totals[c] + first_row);
#pragma GCC unroll 1
  for (int g = 0; g < groups; ++g) {
    const auto b = static_cast<std::size_t>(g);
    ahead.share();
    const auto block = chunk.template block<L>(b, first_row);
    const auto d = chunk.template scale_pair<L>(b, first_row);
    typename L::Reg sums[C];
    for (int c = 0; c < C; ++c) sums[c] = L::zero();
    if constexpr (kDotsBytes<L>) {
      const auto u = F::template group<LaneVocabulary<F, L>, 0>(block);
      add_products<L, 0, 8>(sums, u.q, x, 32 * g);
    } else {
      const auto unpack = [&]<int I>() __attribute__((always_inline)) {
        return F::template group<LaneVocabulary<F, L, I, I + 1>, 0>(block).q[0];
      };
      L::template dot<F, 0, 8>(sums, unpack, x, 32 * g, L::fill16(1));
    }
    for (int c = 0; c < C; ++c) {
      auto sum = sums[c];
      if constexpr (F::kOffset != 0 && !L::template kSigned<F>) sum = L::add(sum, L::fill32(sums_of_a.at(g, c)));
      const auto da = L::fill_floats(x.meta[c].scale[g]);
      totals[c] = L::step(totals[c], L::multiply_floats(d.low, da), sum);
      if constexpr (F::kHasMin) {
        totals[c] = L::step(totals[c], L::multiply_floats(d.high, da), L::fill32(sums_of_a.at(g, c)));
      }
    }
  }
  for (int c = 0; c < C; ++c) L::store_floats(all_totals[c] + first_row, totals[c]);
}

/// Weights interleaved in the store, for gemv_lanes.
template <class F, class L>
class LanesInStore {
 public:
  static constexpr bool kFetchesPages = false;  ///< copies are in huge ones, if the system grants them
  LanesInStore(const ProductArgs& args, std::size_t row)
      : args_(args), row_(row), read_((row - args.row_begin) * args.row_bytes), distance_(store_distance(args)) {}
  InterleavedChunk<F> chunk(std::size_t chunk, int) const { return {args_, row_, chunk}; }
  template <int Columns>
  [[nodiscard]] auto ahead(std::size_t chunk) const {
    constexpr int kTimes = FetchTo<F>::template kInterleavedTimes<Columns>;
    using Fetched = AheadInStore<F, L, FetchTo<F>::kInterleaved, kTimes>;
    constexpr std::size_t kChunkBytes = kInterleavedRows * kRowChunkBytes<F>;
    const std::uint8_t* begin = args_.weights + args_.row_begin * args_.row_bytes;
    const std::size_t read = read_ + chunk * kChunkBytes;
    if constexpr (kInHalves) {
      const std::size_t all = (args_.row_end - args_.row_begin) * args_.row_bytes;
      // Several times, if so, in the same place: of what is fetched faster than it can come a part is dropped.
      return Fetched{all < 8 * kBlockAhead
                         ? of_next_block<kChunkBytes, Fetched::kBytes, kBlockAhead / 2>(begin, read, all)
                         : of_next_block<kChunkBytes, Fetched::kBytes, kBlockAhead>(begin, read, all)};
    } else {
      return Fetched{PiecesAhead<>::in_a_row(begin + read + distance_, Fetched::kBytes), distance_ / (kTimes + 1)};
    }
  }

 private:
  const ProductArgs& args_;
  std::size_t row_;
  std::size_t read_;  ///< bytes of the call before this row
  std::size_t distance_;
};

/// Weights as in the file, interleaved on their way: super-blocks in registers of sixteen rows one chunk ahead, a share
/// with each group that is multiplied, as a core has the shuffles of the one done beside the multiplications of the
/// other.
template <class F, class L>
class LanesInFile {
 public:
  static constexpr bool kFetchesPages = true;
  LanesInFile(const ProductArgs& args, std::size_t row)
      : start_(args.weights + row * args.row_bytes),
        row_bytes_(args.row_bytes),
        stream_(RowsAhead::of<F>(args, start_, kInterleavedRows,
                                 kSmallBlocksOfBytes<F> ? stream_distance(args.row_bytes) : 4096)) {}
  InterleavedChunk<F> chunk(std::size_t chunk, int groups) {
    if (kOneAhead && chunk != 0) return rows_[chunk % 2].chunk();
    return rows_[0].template take<L>(start_ + chunk * kChunkBytes, row_bytes_, groups);
  }
  template <int Columns>
  [[nodiscard]] auto ahead(std::size_t chunk) {
    const Fetched fetched = {stream_.pieces(start_, chunk * kChunkBytes)};
    if constexpr (kOneAhead) {
      const std::size_t next = (chunk + 1) * kChunkBytes;
      return FetchedAndInterleaved{fetched, rows_[(chunk + 1) % 2], next < row_bytes_ ? start_ + next : nullptr,
                                   row_bytes_};
    } else {
      return fetched;
    }
  }

 private:
  static constexpr bool kOneAhead = F::kFamily == Family::super_block && L::kRows == kInterleavedRows;
  static constexpr std::size_t kChunkBytes = kRowChunkBytes<F>;
  using Fetched = AheadInFile<F, L, FetchTo<F>::kLanesInFile>;
  struct FetchedAndInterleaved : Fetched {
    RowsInCache<F>& rows;
    const std::uint8_t* chunk;  ///< the next one, or null
    std::size_t stride;
    template <int J>
    [[gnu::always_inline]] void interleave() {
      if (chunk != nullptr) rows.template take_share<L, J>(chunk, stride);
    }
  };
  const std::uint8_t* start_;
  std::size_t row_bytes_;
  RowsAhead stream_;
  RowsInCache<F> rows_[kOneAhead ? 2 : 1];
};

/// Rows row .. row+15 against C columns from c0 on. Source: LanesInStore or LanesInFile.
template <class F, class L, class Source, int C>
[[gnu::noinline, gnu::flatten]] void gemv_lanes(const ProductArgs& args, std::size_t row, std::size_t c0) {
  alignas(64) float totals[C][kInterleavedRows] = {};
  Source source(args, row);
  const std::size_t chunks = chunks_of(args.in_features);
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    ChunkX<A8Meta> x(args.x, chunk, c0);
    const std::size_t left = args.in_features / 32 - 8 * chunk;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
    const InterleavedChunk<F> weights = source.chunk(chunk, groups);
    auto ahead = source.template ahead<C>(chunk);
    // Dot products leave the integer units enough time.
    [[maybe_unused]] const std::conditional_t<kDotsBytes<L>, SumsOnDemand<F, A8Meta>, ColumnSums<F, C>> sums(x);
#pragma GCC unroll 1
    for (std::size_t first = 0; first < kInterleavedRows; first += L::kRows) {
      asm volatile("" : "+r"(x.q));  // else the broadcasts of all of x are taken out of the loop and spilled
      if constexpr (kTurnsOfRows<F, L>) asm volatile("" : "+r"(first));
      if constexpr (F::kFamily == Family::super_block) {
        lanes_super<F, L, C>(weights, first, x, ahead, totals);
      } else {
        lanes_small<F, L, C>(weights, first, groups, x, sums, ahead, totals);
      }
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

/// Sixteen rows at a time as far as `end`, in passes of nearly as many columns each, up to Columns; the rows after them
/// by `rest`.
template <class F, class L, class Source, std::size_t Columns>
void gemv_in_lanes(const ProductArgs& args, std::size_t end, void (*rest)(const ProductArgs&)) noexcept {
  static constexpr auto kPasses = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array{gemv_lanes<F, L, Source, static_cast<int>(I) + 1>...};
  }(std::make_index_sequence<Columns>{});
  fetch_beginning<F>(args);
  std::size_t row = args.row_begin;
  for (; row + kInterleavedRows <= end; row += kInterleavedRows) {
    if constexpr (Source::kFetchesPages) fetch_translations(args, row, kInterleavedRows);
    std::size_t passes = (args.x.m + Columns - 1) / Columns;
    for (std::size_t c = 0; passes != 0; --passes) {
      const std::size_t columns = (args.x.m - c + passes - 1) / passes;
      kPasses[columns - 1](args, row, c);
      c += columns;
    }
  }
  if (row < args.row_end) {
    ProductArgs last = args;
    last.row_begin = row;
    rest(last);
  }
}

}  // namespace
}  // namespace quantlinear::cpu
