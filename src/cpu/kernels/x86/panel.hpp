// Panels: 16 or 32 weight rows of one chunk (256 k), unpacked once for all m and laid out so that a
// 32-bit broadcast of activations multiplies a register of rows at once.
//
//   bytes   u      [k/4][row][4]   unsigned, offset not applied; or with sub-scale and offset applied (folded.hpp)
//   words   q * s  [k/2][row][2]   signed 16 bits, offset and sub-scale applied
//
// The panel and the activations of a tile live in the first-level cache; the unpacking is paid
// once per chunk and panel, however large m is.
#pragma once

#include "cpu/kernels/x86/folded.hpp"
#include "cpu/kernels/x86/panel_order.hpp"

namespace quantlinear::cpu {
namespace {

/// What accompanies the weights of a panel; which members are used depends on format and precision.
template <int Rows>
struct PanelScales {
  /// super_block: sub-scale of each 16 or 32 as a pair of equal int16, [j][row]
  alignas(64) std::int32_t sub_scale[16][Rows];
  /// super_block: factors of the activation sums, int16 pairs. bytes: (t_2i, t_2i+1), t = min or
  /// offset * scale; words: (512 * min_j, min_j) against the split sums.
  alignas(64) std::int32_t sums_factor[16][Rows];
  /// super_block: d in d[0], dmin in min[0]; small_block: one per scale, at most 16
  alignas(64) float d[16][Rows];
  alignas(64) float min[16][Rows];
};

/// OffsetFactors: whether sums_factor is to hold what an offset takes, where the tile does not take it off otherwise.
template <int Rows, bool OffsetFactors = false>
struct BytePanel {
  static constexpr std::size_t kRows = Rows;
  static constexpr bool kWords = false;
  static constexpr bool kOffsetFactors = OffsetFactors;
  static constexpr bool kFolded = false;  ///< whether sub-scales are applied
  alignas(64) std::uint8_t u[kChunk / 4][Rows][4];
  PanelScales<Rows> scales;
};
template <int Rows>
struct FoldedBytePanel : BytePanel<Rows> {
  static constexpr bool kFolded = true;
};
template <int Rows>
struct WordPanel {
  static constexpr std::size_t kRows = Rows;
  static constexpr bool kWords = true;
  static constexpr bool kOffsetFactors = false;
  static constexpr bool kFolded = true;
  alignas(64) std::int16_t w[kChunk / 2][Rows][2];
  PanelScales<Rows> scales;
};

/// Eight rows of a matrix, the last one repeated where there are fewer: never read past the end.
struct PanelRows {
  const std::uint8_t* row[8];

  PanelRows(const std::uint8_t* weights, std::size_t row_bytes, std::size_t first, std::size_t end) {
    for (std::size_t i = 0; i < 8; ++i) row[i] = weights + (first + i < end ? first + i : end - 1) * row_bytes;
  }
};

/// Transposes eight registers of 32-bit lanes and stores the first `count` lanes as rows of an array as wide as the
/// panel, at column 8 * octet: the rows of the octet-th eight.
template <int Rows>
[[gnu::always_inline]] inline void store_transposed(__m256i (&v)[8], std::int32_t (*out)[Rows], int octet, int count) {
  transpose8(v);
  for (int i = 0; i < count; ++i) store256(&out[i][8 * octet], v[i]);
}

/// Times a min: the pair (512 min, min), the factors of a sum that is split in two.
inline constexpr std::int32_t kSplitMin = 0x00010200;

/// The pairs (t_2i, t_2i+1) of a super-block's 16 sub-scales or mins, as dwords.
template <class F, int Rows>
[[gnu::always_inline]] inline void pack_sums_factors(const PanelRows& rows, std::size_t at, int octet,
                                                     PanelScales<Rows>& out, bool words) {
  constexpr int kSubBlocks = 256 / F::kScaleStep;
  const auto t_bytes = [&](int i) {
    if constexpr (F::kHasMin) {
      return F::template mins<V>(rows.row[i] + at);
    } else {
      return F::template scales<V>(rows.row[i] + at);
    }
  };
  if (words) {
    for (int part = 0; part < kSubBlocks / 8; ++part) {
      __m256i v[8];
      for (int i = 0; i < 8; ++i) {
        const __m128i t = t_bytes(i);
        const __m256i lanes = _mm256_cvtepi8_epi32(part == 0 ? t : _mm_unpackhi_epi64(t, t));
        v[i] = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(kSplitMin));
      }
      store_transposed(v, out.sums_factor + 8 * part, octet, 8);
    }
    return;
  }
  __m256i v[8];
  const short factor = F::kHasMin ? 1 : F::kOffset;
  for (int i = 0; i < 8; ++i) {
    v[i] = _mm256_mullo_epi16(_mm256_cvtepi8_epi16(t_bytes(i)), _mm256_set1_epi16(factor));
  }
  store_transposed(v, out.sums_factor, octet, kSubBlocks / 2);
}

template <class F, class Panel>
[[gnu::always_inline]] inline void pack_super_scales(const PanelRows& rows, std::size_t at, int octet, Panel& panel) {
  auto& out = panel.scales;
  const auto block_of = [&](int i) { return rows.row[i] + at; };
  _mm256_store_ps(&out.d[0][8 * octet], scales8<F>(block_of));
  if constexpr (F::kHasMin) {
    _mm256_store_ps(&out.min[0][8 * octet], halves8(block_of, [](const std::uint8_t* b) { return F::dmin_bits(b); }));
  }
  if constexpr (F::kHasMin || Panel::kOffsetFactors) {
    pack_sums_factors<F>(rows, at, octet, out, Panel::kWords);
  }
  constexpr int kSubBlocks = 256 / F::kScaleStep;
  __m256i low[8], high[8];
  for (int i = 0; i < 8; ++i) {
    const __m256i s = _mm256_cvtepi8_epi16(F::template scales<V>(rows.row[i] + at));
    low[i] = _mm256_permute4x64_epi64(s, 0xd8);  // so that the in-lane unpack keeps the order
    high[i] = _mm256_unpackhi_epi16(low[i], low[i]);
    low[i] = _mm256_unpacklo_epi16(low[i], low[i]);
  }
  store_transposed(low, out.sub_scale, octet, 8);
  if constexpr (kSubBlocks == 16) store_transposed(high, out.sub_scale + 8, octet, 8);
}

/// One group of 32 k of eight rows into a byte panel (the sub-scales of the super-block are in its scales already).
template <class F, class Panel, class Group>
[[gnu::always_inline]] inline void pack_bytes(Group group, int g, int octet, Panel& panel) {
  __m256i v[8];
  unroll<8>([&]<int I>() { v[I] = group.template operator()<I>(); });
  transpose8(v);
  for (int i = 0; i < 8; ++i) {
    if constexpr (Panel::kFolded) {
      const __m256i scale = load256(&panel.scales.sub_scale[sub_block_of<F>(g, i)][8 * octet]);
      v[i] = Folded<F>::template weights<Rows8Lanes>(v[i], scale);
    }
    store256(panel.u[8 * g + i][8 * octet], v[i]);
  }
}

/// Which pair of words of a group weights 4i, 4i+1 are in the order of a16 activations: 0..7, 16..23, 8..15, 24..31.
constexpr int a16_pair(int i) { return 2 * i + (i / 2 == 1 ? 4 : i / 2 == 2 ? -4 : 0); }

/// The same into a word panel, offset and sub-scale applied (those of the super-block are in its scales already).
template <class F, int Rows, class Group>
[[gnu::always_inline]] inline void pack_words(Group group, int g, int octet, WordPanel<Rows>& panel) {
  __m256i v[8];
  unroll<8>([&]<int I>() { v[I] = group.template operator()<I>(); });
  transpose8(v);
  // Bytes 0 and 1 of every row, and bytes 2 and 3, as words.
  const __m256i first =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
  const __m256i second =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));
  unroll<8>([&]<int I>() __attribute__((always_inline)) {
    const auto word_pair = [&](__m256i bytes) {
      __m256i w = _mm256_shuffle_epi8(v[I], bytes);
      if constexpr (F::kOffset != 0) w = _mm256_sub_epi16(w, _mm256_set1_epi16(F::kOffset));
      if constexpr (F::kFamily == Family::super_block) {
        w = _mm256_mullo_epi16(w, load256(&panel.scales.sub_scale[sub_block_of<F>(g, I)][8 * octet]));
      }
      return w;
    };
    store256(panel.w[16 * g + a16_pair(I)][8 * octet], word_pair(first));
    store256(panel.w[16 * g + a16_pair(I) + 1][8 * octet], word_pair(second));
  });
}

/// Packs chunk `at.chunk` (`groups` groups of 32 k) of rows at.row .. at.row+kRows-1 (the last row repeated), eight
/// from `from_octet` on; fetches those of `ahead`, a row with each group.
template <class F, class Panel>
[[gnu::noinline]] void pack_panel(const ProductArgs& args, PanelAt panel_at, int groups, PanelAt ahead, Panel& panel,
                                  int from_octet) {
  const auto [first, chunk] = panel_at;
  constexpr bool kWords = Panel::kWords;
  for (int octet = from_octet; octet < static_cast<int>(Panel::kRows) / 8; ++octet) {
    const std::size_t start = first + 8 * static_cast<std::size_t>(octet);
    const PanelRows rows(args.weights, args.row_bytes, start, args.row_end);
    auto fetch = ahead_of_panel<F, Panel::kRows>(args, panel_at, ahead, start - first);
    const auto pack_group = [&]<int J>(std::size_t at, int g) {
      fetch.share();
      const auto group = [&]<int I>() { return F::template group<V, J>(rows.row[I] + at); };
      if constexpr (kWords) {
        pack_words<F>(group, g, octet, panel);
      } else {
        pack_bytes<F>(group, g, octet, panel);
      }
    };
    if constexpr (F::kFamily == Family::super_block) {
      const std::size_t at = chunk * F::kBlockBytes;
      pack_super_scales<F>(rows, at, octet, panel);
      unroll<8>([&]<int J>() { pack_group.template operator()<J>(at, J); });
    } else {
      constexpr int kGroups = F::kBlockElements / 32;
      for (int b = 0; b * kGroups < groups; ++b) {
        const std::size_t at = (chunk * (kChunk / F::kBlockElements) + static_cast<std::size_t>(b)) * F::kBlockBytes;
        const auto block_of = [&](int i) { return rows.row[i] + at; };
        unroll<kGroups>([&]<int J>() {
          pack_group.template operator()<J>(at, b * kGroups + J);
          const int g = b * kGroups + J;
          if constexpr (F::kScaleStep == 32) {
            _mm256_store_ps(&panel.scales.d[g][8 * octet], scales8<F>(block_of));
          } else {
            _mm256_store_ps(&panel.scales.d[2 * g][8 * octet], scales8<F, 2 * J>(block_of));
            _mm256_store_ps(&panel.scales.d[2 * g + 1][8 * octet], scales8<F, 2 * J + 1>(block_of));
          }
          if constexpr (F::kHasMin) {
            _mm256_store_ps(&panel.scales.min[g][8 * octet],
                            halves8(block_of, [](const std::uint8_t* p) { return F::m_bits(p); }));
          }
        });
      }
    }
  }
}

/// gemm's packer for weights as in the file.
template <class F>
struct PackRows {
  struct Memory {};
  static constexpr std::size_t kAhead = 2;
  template <class Panel>
  static void pack(const ProductArgs& args, PanelAt at, int groups, PanelAt ahead, Memory&, Panel& panel) {
    pack_panel<F>(args, at, groups, ahead, panel, 0);
  }
};

}  // namespace
}  // namespace quantlinear::cpu
