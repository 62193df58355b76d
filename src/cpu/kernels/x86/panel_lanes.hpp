// Panels from interleaved weights, in the store or on their way through the cache: the bytes are side by side already,
// so that unpacking is all there is to do.
#pragma once

#include "cpu/kernels/x86/panel.hpp"
#include "cpu/kernels/x86/rows_in_cache.hpp"

namespace quantlinear::cpu {
namespace {

/// Sub-scales and factors of activation sums of a super-block, as pack_super_scales has them.
template <class F, class L, class Panel>
[[gnu::always_inline]] inline void pack_lanes_scales(typename RowLanes<L>::Block block, std::size_t column,
                                                     Panel& panel) {
  auto& out = panel.scales;
  constexpr int kSubBlocks = 256 / F::kScaleStep;
  const auto scales = F::template lane_scales<RowLanes<L>>(block);
  if constexpr (!Panel::kFolded) {
    unroll<kSubBlocks>(
        [&]<int I>() { L::store(&out.sub_scale[I][column], L::template words<I % 4, I % 4>(scales.q[I / 4])); });
  }
  const auto pack_sums = [&](const auto& quads, int factor) {
    unroll<kSubBlocks / 2>([&]<int I>() {
      constexpr int kByte = 2 * (I % 2);
      const auto pair = L::template words<kByte, kByte + 1>(quads.q[I / 2]);
      L::store(&out.sums_factor[I][column], factor == 1 ? pair : L::multiply_words(pair, L::fill16(factor)));
    });
  };
  if constexpr (F::kHasMin) {
    const auto mins = F::template lane_mins<RowLanes<L>>(block);
    if constexpr (Panel::kWords) {
      unroll<kSubBlocks>([&]<int I>() {
        const auto min = L::template dword<I % 4>(mins.q[I / 4]);
        L::store(&out.sums_factor[I][column], L::multiply(min, L::fill32(kSplitMin)));
      });
    } else {
      pack_sums(mins, 1);
    }
  } else if constexpr (Panel::kOffsetFactors) {
    pack_sums(scales, F::kOffset);
  }
}

/// Packs a chunk of 16 rows into columns first .. first+15 of a panel; fetches what is ahead.
template <class F, class L, class Panel>
[[gnu::noinline, gnu::flatten]] void pack_lanes(const InterleavedChunk<F>& chunk, int groups, auto ahead,
                                                std::size_t first, Panel& panel) {
  constexpr bool kWords = Panel::kWords;
  using Vocabulary = RowLanes<L>;
#pragma GCC unroll 1
  for (std::size_t row = 0; row < kInterleavedRows; row += L::kRows) {
    const std::size_t column = first + row;
    const auto pack_group = [&]<int J>(typename Vocabulary::Block block, int g, [[maybe_unused]] const auto& scales) {
      ahead.share();
      asm volatile("" : "+r"(block.p));  // as in lanes_super
      const auto u = F::template group<Vocabulary, J>(block);
      unroll<8>([&]<int I>() {
        constexpr int kSubBlock = sub_block_of<F>(J, I);
        if constexpr (!kWords) {
          auto bytes = u.q[I];
          if constexpr (Panel::kFolded) {
            const auto scale = L::template words<kSubBlock % 4, kSubBlock % 4>(scales.q[kSubBlock / 4]);
            bytes = Folded<F>::template weights<L>(bytes, scale);
          }
          L::store(panel.u[8 * g + I][column], bytes);
        } else {
          constexpr int kPair = a16_pair(I);
          const auto offset = L::fill16(F::kOffset);
          auto low = L::sub_words(L::low_words(u.q[I]), offset);
          auto high = L::sub_words(L::high_words(u.q[I]), offset);
          if constexpr (F::kFamily == Family::super_block) {
            const auto scale = L::template words<kSubBlock % 4, kSubBlock % 4>(scales.q[kSubBlock / 4]);
            low = L::multiply_words(low, scale), high = L::multiply_words(high, scale);
          }
          L::store(panel.w[16 * g + kPair][column], low);
          L::store(panel.w[16 * g + kPair + 1][column], high);
        }
      });
    };
    if constexpr (F::kFamily == Family::super_block) {
      const auto block = chunk.template block<L>(0, row);
      const auto d = chunk.template scale_pair<L>(0, row);
      L::store_floats(&panel.scales.d[0][column], d.low);
      if constexpr (F::kHasMin) L::store_floats(&panel.scales.min[0][column], d.high);
      pack_lanes_scales<F, L>(block, column, panel);
      const auto scales = F::template lane_scales<Vocabulary>(block);
      unroll<8>([&]<int J>() { pack_group.template operator()<J>(block, J, scales); });
    } else {
#pragma GCC unroll 1
      for (int g = 0; g < groups; ++g) {
        const auto b = static_cast<std::size_t>(g);
        pack_group.template operator()<0>(chunk.template block<L>(b, row), g, 0);
        const auto d = chunk.template scale_pair<L>(b, row);
        L::store_floats(&panel.scales.d[g][column], d.low);
        if constexpr (F::kHasMin) L::store_floats(&panel.scales.min[g][column], d.high);
      }
    }
  }
}

/// gemm's packer for a matrix whose first rows are interleaved.
template <class F, class L>
struct PackInterleaved {
  struct Memory {};
  static constexpr std::size_t kAhead = 2;
  template <class Panel>
  static void pack(const ProductArgs& args, PanelAt at, int groups, PanelAt ahead, Memory&, Panel& panel) {
    std::size_t packed = 0;
    for (; packed < Panel::kRows && at.row + packed < args.interleaved_rows; packed += kInterleavedRows) {
      const InterleavedChunk<F> next(args, ahead.row + packed, ahead.chunk);
      constexpr CacheLevel kLevel = FetchTo<F>::kInterleavedPanels;
      using Fetch = AheadInStore<F, L, kLevel>;
      if constexpr (next.kApart != 0) prefetch<static_cast<int>(next.kBlocks * next.kScaleBytes), kLevel>(next.scales);
      pack_lanes<F, L>({args, at.row + packed, at.chunk}, groups,
                       Fetch{PiecesAhead<>::in_a_row(next.words, Fetch::kBytes)}, packed, panel);
    }
    if (packed < Panel::kRows && at.row + packed < args.row_end) {
      pack_panel<F>(args, at, groups, ahead, panel, static_cast<int>(packed / 8));
    }
  }
};

/// gemm's packer for weights as in the file, interleaved on their way. Pays for super-blocks.
template <class F, class L>
struct PackThroughCache {
  using Memory = RowsInCache<F>;
  static constexpr std::size_t kAhead = 3;  // 2: Q6_K, m = 1, takes 1.15 times as long
  template <class Panel>
  static void pack(const ProductArgs& args, PanelAt at, int groups, PanelAt ahead, Memory& rows, Panel& panel) {
    const std::uint8_t* first = args.weights + at.row * args.row_bytes + at.chunk * kRowChunkBytes<F>;
    std::size_t packed = 0;
    for (; packed < Panel::kRows && at.row + packed + kInterleavedRows <= args.row_end; packed += kInterleavedRows) {
      const InterleavedChunk<F> chunk = rows.template take<L>(first + packed * args.row_bytes, args.row_bytes, groups);
      const auto fetch =
          ahead_of_panel<F, Panel::kRows, AheadInFile<F, L, FetchTo<F>::kPanels>>(args, at, ahead, packed);
      pack_lanes<F, L>(chunk, groups, fetch, packed, panel);
    }
    if (packed < Panel::kRows && at.row + packed < args.row_end) {
      pack_panel<F>(args, at, groups, ahead, panel, static_cast<int>(packed / 8));
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
