// Panels on AVX-512, of weights as in the file.
//
// Super-blocks that unpack 64 weights at a time but cannot be interleaved as they are: eight rows are unpacked into the
// first-level cache, then transposed. Small blocks: sixteen rows are unpacked and transposed in registers.
#pragma once

#include "cpu/kernels/x86/avx512_gemv_small.hpp"
#include "cpu/kernels/x86/avx512_unpack.hpp"
#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

template <class F>
struct PackBlocks {
  struct Memory {
    alignas(64) std::uint8_t u[8][256];  ///< of eight rows, in units of 16 (kOrder)
  };
  static constexpr std::size_t kAhead = 2;

  template <class Panel>
  [[gnu::noinline]] static void pack(const ProductArgs& args, PanelAt panel_at, int, PanelAt ahead, Memory& memory,
                                     Panel& panel) {
    const auto [first, chunk] = panel_at;
    for (int octet = 0; octet < static_cast<int>(Panel::kRows) / 8; ++octet) {
      const std::size_t start = first + 8 * static_cast<std::size_t>(octet), at = chunk * F::kBlockBytes;
      const PanelRows rows(args.weights, args.row_bytes, start, args.row_end);
      auto fetch = ahead_of_panel<F, Panel::kRows>(args, panel_at, ahead, start - first);
      if constexpr (Unpack::kIndexed) {
        typename Unpack::Indices indices[8];
        for (int i = 0; i < 8; ++i) indices[i].take(rows.row[i] + at);
#pragma GCC unroll 1
        for (int i = 0; i < 8; ++i) {
          fetch.share();
          unroll<4>([&]<int J>() __attribute__((always_inline)) {
            store(memory.u[i] + 64 * J, indices[i].template quarter<J>(rows.row[i] + at));
          });
        }
      } else {
#pragma GCC unroll 1
        for (int i = 0; i < 8; ++i) {
          fetch.share();
          unpack(rows.row[i] + at, memory.u[i]);
        }
      }
      pack_super_scales<F>(rows, at, octet, panel);
      for (int half = 0; half < 8; ++half) {
        __m256i v[8];
        for (int i = 0; i < 8; ++i) v[i] = load256(memory.u[i] + 32 * half);
        transpose8(v);
        unroll<8>([&]<int I>() __attribute__((always_inline)) {
          const int unit = kOrder.unit[half / 2][2 * (half % 2) + I / 4];
          store256(panel.u[4 * unit + I % 4][8 * octet], v[I]);
        });
      }
    }
  }

 private:
  using Unpack = Avx512Unpack<F>;
  /// Planes, put together: of each 64 weights 16, and so on.
  static constexpr formats::QuarterOrder kOrder =
      Unpack::kByPlanes ? formats::QuarterOrder{{{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}}}
                        : Unpack::kOrder;

  static void store(std::uint8_t* to, __m512i v) { _mm512_store_si512(to, v); }
  [[gnu::always_inline]] static void unpack(const std::uint8_t* block, std::uint8_t* u) {
    const auto weights = Unpack::weights_of(block);
    const __m512i a = weights.template operator()<0>(), b = weights.template operator()<1>();
    const __m512i c = weights.template operator()<2>(), d = weights.template operator()<3>();
    if constexpr (Unpack::kByPlanes) {
      // Words of four planes make eight weights.
      const __m512i ab = _mm512_unpacklo_epi16(a, b), ab_high = _mm512_unpackhi_epi16(a, b);
      const __m512i cd = _mm512_unpacklo_epi16(c, d), cd_high = _mm512_unpackhi_epi16(c, d);
      store(u, _mm512_unpacklo_epi32(ab, cd));
      store(u + 64, _mm512_unpackhi_epi32(ab, cd));
      store(u + 128, _mm512_unpacklo_epi32(ab_high, cd_high));
      store(u + 192, _mm512_unpackhi_epi32(ab_high, cd_high));
    } else {
      store(u, a);
      store(u + 64, b);
      store(u + 128, c);
      store(u + 192, d);
    }
  }
};

/// gemm's packer for small blocks: 16 weights of rows r, r + 4, r + 8 and r + 12 a register, of which four are
/// transposed to dwords of sixteen rows without crossing their 128-bit parts.
template <class F>
struct PackWideBlocks {
  struct Memory {};
  static constexpr std::size_t kAhead = 2;

  template <class Panel>
  [[gnu::noinline]] static void pack(const ProductArgs& args, PanelAt at, int groups, PanelAt ahead, Memory&,
                                     Panel& panel) {
    const std::size_t stride = args.row_bytes;
    std::size_t band = 0;
    for (; band < Panel::kRows && at.row + band + 16 <= args.row_end; band += 16) {
      const std::uint8_t* block = args.weights + (at.row + band) * stride + at.chunk * kRowChunkBytes<F>;
      auto fetch = ahead_of_panel<F, Panel::kRows>(args, at, ahead, band);
#pragma GCC unroll 1
      for (int g = 0; g < groups; ++g, block += F::kBlockBytes) {
        for (int i = 0; i < 2; ++i) fetch.share();
        __m512i first[4], second[4];
        unroll<4>([&]<int I>() __attribute__((always_inline)) {
          const std::uint8_t* row = block + I * stride;
          const auto u = F::template halves<Avx512Vocabulary>({row, row + 8 * stride, 4 * stride});
          first[I] = u.first, second[I] = u.second;
        });
        store_dwords(first, panel.u + 8 * g, band);
        store_dwords(second, panel.u + 8 * g + 4, band);
        const WideScales scales = wide_scales<F>(block, stride);
        _mm512_storeu_ps(&panel.scales.d[g][band], scales.d);
        if constexpr (F::kHasMin) _mm512_storeu_ps(&panel.scales.min[g][band], scales.m);
      }
    }
    if (band < Panel::kRows && at.row + band < args.row_end) {
      pack_panel<F>(args, at, groups, ahead, panel, static_cast<int>(band / 8));
    }
  }

 private:
  template <std::size_t Rows>
  [[gnu::always_inline]] static void store_dwords(const __m512i (&v)[4], std::uint8_t (*out)[Rows][4],
                                                  std::size_t row) {
    const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
    _mm512_storeu_si512(out[0][row], _mm512_unpacklo_epi64(a, c));
    _mm512_storeu_si512(out[1][row], _mm512_unpackhi_epi64(a, c));
    _mm512_storeu_si512(out[2][row], _mm512_unpacklo_epi64(b, d));
    _mm512_storeu_si512(out[3][row], _mm512_unpackhi_epi64(b, d));
  }
};

}  // namespace
}  // namespace quantlinear::cpu
