// Panels from interleaved weights: the bytes are side by side already, so that unpacking is all there is to do.
#pragma once

#include "cpu/kernels/x86/gemv_interleaved.hpp"
#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

/// Sub-scales and factors of activation sums of a super-block, as pack_super_scales has them.
template <class F, class L, int Rows>
[[gnu::always_inline]] inline void pack_lanes_scales(typename RowLanes<L>::Block block, std::size_t column,
                                                     PanelScales<Rows>& out, bool words) {
  constexpr int kSubBlocks = 256 / F::kScaleStep;
  const auto scales = F::template lane_scales<RowLanes<L>>(block);
  if (!words) {
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
    pack_sums(F::template lane_mins<RowLanes<L>>(block), 1);
  } else if constexpr (F::kOffset != 0) {
    if (!words) pack_sums(scales, F::kOffset);
  }
}

/// Chunk `chunk` of the 16 rows of `group` into columns first .. first+15 of a panel; fetches chunk `chunk_ahead` of
/// the rows of `ahead`.
template <class F, class L, class Panel>
[[gnu::noinline, gnu::flatten]] void pack_interleaved(const InterleavedGroup<F>& group, std::size_t chunk, int groups,
                                                      const InterleavedGroup<F>& ahead, std::size_t chunk_ahead,
                                                      std::size_t first, Panel& panel) {
  constexpr std::size_t kBlocks = kChunk / F::kBlockElements;
  constexpr std::size_t kScaleBytes = kBlocks * kInterleavedRows * InterleavedGroup<F>::kApart;
  // A share with each group of each register of rows.
  constexpr std::size_t kShare = kBlocks * InterleavedGroup<F>::kWordBytes / (8 * kInterleavedRows / L::kRows);
  const std::uint8_t* next = ahead.words + chunk_ahead * kBlocks * InterleavedGroup<F>::kWordBytes;
  if constexpr (kScaleBytes != 0) prefetch<static_cast<int>(kScaleBytes)>(ahead.scales + chunk_ahead * kScaleBytes);
  using Vocabulary = RowLanes<L>;
  constexpr bool kWords = Panel::kWords;
  static_assert(!(kWords && F::kHasMin), "words of formats with mins take other factors (pack_sums_factors)");
#pragma GCC unroll 1
  for (std::size_t row = 0; row < kInterleavedRows; row += L::kRows) {
    const std::size_t column = first + row;
    const auto pack_group = [&]<int J>(typename Vocabulary::Block block, int g, [[maybe_unused]] const auto& scales) {
      prefetch<static_cast<int>(kShare)>(next);
      next += kShare;
      asm volatile("" : "+r"(block.p));  // as in lanes_super
      const auto u = F::template group<Vocabulary, J>(block);
      unroll<8>([&]<int I>() {
        if constexpr (!kWords) {
          L::store(panel.u[8 * g + I][column], u.q[I]);
        } else {
          constexpr int kPair = a16_pair(I);
          constexpr int kSubBlock = F::kScaleStep == 32 ? J : 2 * J + I / 4;
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
      const auto block = group.template block<L>(chunk, row);
      const auto d = group.template scale_pair<L>(chunk, row);
      L::store_floats(&panel.scales.d[0][column], d.low);
      if constexpr (F::kHasMin) L::store_floats(&panel.scales.min[0][column], d.high);
      pack_lanes_scales<F, L>(block, column, panel.scales, kWords);
      const auto scales = F::template lane_scales<Vocabulary>(block);
      unroll<8>([&]<int J>() { pack_group.template operator()<J>(block, J, scales); });
    } else {
#pragma GCC unroll 1
      for (int g = 0; g < groups; ++g) {
        const std::size_t b = 8 * chunk + static_cast<std::size_t>(g);
        pack_group.template operator()<0>(group.template block<L>(b, row), g, 0);
        const auto d = group.template scale_pair<L>(b, row);
        L::store_floats(&panel.scales.d[g][column], d.low);
        if constexpr (F::kHasMin) L::store_floats(&panel.scales.min[g][column], d.high);
      }
    }
  }
}

/// gemm's packer for a matrix whose first rows are interleaved.
template <class L>
struct PackInterleaved {
  template <class F, class Panel>
  static void pack(const ProductArgs& args, PanelAt at, int groups, PanelAt ahead, Panel& panel) {
    const auto group = [&](std::size_t row) {
      return InterleavedGroup<F>(args.weights + row * args.row_bytes, args.row_bytes);
    };
    std::size_t packed = 0;
    for (; packed < Panel::kRows && at.row + packed < args.interleaved_rows; packed += kInterleavedRows) {
      pack_interleaved<F, L>(group(at.row + packed), at.chunk, groups, group(ahead.row + packed), ahead.chunk, packed,
                             panel);
    }
    if (packed < Panel::kRows && at.row + packed < args.row_end) {
      pack_panel<F>(args, at, groups, ahead, panel, static_cast<int>(packed / 8));
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
