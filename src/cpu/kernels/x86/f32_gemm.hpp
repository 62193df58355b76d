// Precision f32, many activation rows: tiles of four weight rows and some columns at a time (avx2_f32.hpp,
// avx512_f32.hpp). Float weights are converted on their way into the registers, of every pass or of the first; others
// are decoded to a panel.
//
// Weight rows go 64 at a time, so that a chunk of the activations, four times as large as in a8, comes from the
// second-level cache for most of them.
#pragma once

#include "cpu/kernels/x86/decode.hpp"
#include "cpu/kernels/x86/panel_order.hpp"
#include "formats/f32.hpp"

namespace quantlinear::cpu {
namespace {

inline constexpr std::size_t kF32TileRows = 4;    ///< wide passes: by twos
inline constexpr std::size_t kF32PanelRows = 16;  ///< 16 KiB as f32
inline constexpr std::size_t kF32Rows = 64;

/// What a tile does with weights besides multiplying them.
enum class Besides : std::uint8_t { nothing, fetching, keeping };

/// Four weight rows for a tile, `stride` bytes apart: of a panel, or as they are in memory.
template <class F, Besides B>
struct F32Rows {
  const std::uint8_t* first;
  std::size_t stride;
  const std::uint8_t* ahead;  ///< fetching: what is to be fetched, at the same distances
  float* panel;               ///< keeping: [row][kChunk], where they are stored as f32 for the passes that follow

  [[nodiscard]] const std::uint8_t* at(std::size_t row, std::size_t k) const {
    return first + row * stride + k * F::kBlockBytes;
  }
  /// Those `rows` rows further down.
  [[nodiscard]] F32Rows down(std::size_t rows) const {
    return {first + rows * stride, stride, B == Besides::fetching ? ahead + rows * stride : nullptr,
            B == Besides::keeping ? panel + rows * kChunk : nullptr};
  }
  /// To be called for every eight k by who multiplies `Rows` of them: they take turns, a cache line of each.
  template <std::size_t Rows>
  [[gnu::always_inline]] void fetch(std::size_t k) const {
    if constexpr (B == Besides::fetching) {
      constexpr std::size_t kLine = 64 / F::kBlockBytes, kTurns = kLine / 8;
      for (std::size_t row = k % kLine / 8; row < Rows; row += kTurns) {
        prefetch<64, FetchTo<F>::kPanels>(ahead + row * stride + k / kLine * 64);
      }
    }
  }
  /// To be called with every eight weights.
  [[gnu::always_inline]] void keep(std::size_t row, std::size_t k, __m256 weights) const {
    if constexpr (B == Besides::keeping) _mm256_storeu_ps(panel + row * kChunk + k, weights);
  }
};

/// How many of the columns that are left to take next, so that passes of `most` or less are nearly the same: one or two
/// columns do not fill the multipliers.
constexpr std::size_t even_pass(std::size_t left, std::size_t most) {
  const std::size_t passes = (left + most - 1) / most;
  return (left + passes - 1) / passes;
}

/// Calls pass.operator()<C>(c) for columns c .. c+C-1 until all are done; width(left) says how many come next, C, which
/// is a multiple of Step and no more than Most.
template <int Step, int Most, class Width, class Pass>
[[gnu::always_inline]] inline void in_passes(std::size_t columns, Width width, Pass pass) {
  for (std::size_t done = 0, now = 0; done < columns; done += now) {
    now = width(columns - done);
    unroll<Most / Step>([&]<int I>() {
      if (now == (I + 1) * Step) pass.template operator()<(I + 1) * Step>(done);
    });
  }
}

/// Whether tiles read m columns of float weights as they are in memory.
template <class F, class Tile>
constexpr bool converts_in_tile(std::size_t m) {
  return F::kFamily == Family::float_weight && m <= Tile::template kMostInPlace<F>;
}

/// How float weights are read, and converted, in the tile.
struct InPlace {
  std::size_t rows;  ///< this many run against a pass, before the next pass: a multiple of four, up to kF32Rows
  bool fetch;        ///< whether by hand, two panels ahead
};

/// Tile must offer:
///   kSideBySide     how many activation rows are prepared side by side (ActivationSpec)
///   kColumns        the most columns of a pass, a multiple of kSideBySide; kColumnsInPlace<F>: of weights in place
///   pass<F>(left, in_place)   how many of the columns that are left are the next pass, rounded up to kSideBySide
///   kMostInPlace<F>   up to this many columns float weights are read, and converted, in every pass; with more in the
///                     first one, which leaves the others a panel
///   template <int Bytes> static constexpr InPlace in_place(m, row_bytes)   how those are read
///   kFloatsGemmFrom<Bytes>   columns from which on float weights of so many bytes are multiplied by it (f32.hpp)
///   template <int C> static void multiply(const F32Rows<F, B>& w, const float* x, std::size_t count, float*
///   results)
/// which adds the products of `count` k, a multiple of eight, of four rows and C columns to results [column][kF32Rows].
///
/// f32_tiles does so for `rows` rows. Not inlined, or GCC keeps constants of decoding in registers, and accumulators on
/// the stack instead: 1.8 times as long.
template <class Tile, int C, class F, Besides B>
[[gnu::noinline]] void f32_tiles(const F32Rows<F, B>& weights, std::size_t rows, const float* x, std::size_t count,
                                 float* results) {
  for (std::size_t r = 0; r < rows; r += kF32TileRows) {
    Tile::template multiply<C>(weights.down(r), x, count, results + r);
  }
}

template <class F, class Tile>
void gemm_f32(const ProductArgs& args) noexcept {
  constexpr std::size_t kChunkBytes = kChunk / F::kBlockElements * F::kBlockBytes;
  constexpr bool kFloats = F::kFamily == Family::float_weight;
  auto* panel = reinterpret_cast<float*>(args.scratch);
  float* results = panel + kF32PanelRows * kChunk;
  const std::size_t stored = (args.x.m + Tile::kSideBySide - 1) / Tile::kSideBySide * Tile::kSideBySide;
  if (stored > args.x.m) std::memset(results + args.x.m * kF32Rows, 0, kF32Rows * sizeof(float));
  const bool converts = converts_in_tile<F, Tile>(args.x.m);
  const InPlace in_place = Tile::template in_place<F::kBlockBytes>(args.x.m, args.row_bytes);
  const std::size_t height = converts ? in_place.rows : kF32Rows;
  const auto rows_of_chunk = [&](PanelAt at, PanelAt ahead) {
    const std::size_t left = args.in_features - at.chunk * kChunk;
    const std::size_t count = left < kChunk ? left : kChunk;
    const std::size_t end = args.row_end - at.row < height ? args.row_end : at.row + height;
    for (std::size_t row = at.row, rows = 0; row < end; row += rows) {
      // Tiles read weights of floats themselves, as far as these fill tiles.
      const bool by_tiles = kFloats && end - row >= kF32TileRows && count % 8 == 0;
      const bool in_place_only = by_tiles && converts;
      rows = end - row < kF32PanelRows || in_place_only ? end - row : kF32PanelRows;
      if (by_tiles) rows -= rows % kF32TileRows;
      const std::uint8_t* block = args.weights + row * args.row_bytes + at.chunk * kChunkBytes;
      const std::uint8_t* next = args.weights + (ahead.row + row - at.row) * args.row_bytes + ahead.chunk * kChunkBytes;
      const auto fetch_next = [&](std::size_t r) {
        prefetch<static_cast<int>(kChunkBytes), FetchTo<F>::kPanels>(next + r * args.row_bytes);
      };
      if (!by_tiles) {
        for (std::size_t r = 0; r < rows; ++r) {
          if (!kFloats) fetch_next(r);
          for_each_group<F>(block + r * args.row_bytes, count,
                            [&](std::size_t g, const Floats32& w) { store32(panel + r * kChunk + 32 * g, w); });
        }
      }
      std::size_t fetched = 0;
      const auto width = [&](std::size_t columns) { return Tile::template pass<F>(columns, in_place_only); };
      in_passes<Tile::kSideBySide, Tile::template kColumnsInPlace<F>>(args.x.m, width, [&]<int C>(std::size_t c) {
        const float* x = static_cast<const float*>(args.x.values) + (at.chunk * stored + c) * kChunk;
        const auto multiply = [&](const auto& weights) {
          f32_tiles<Tile, C>(weights, rows, x, (count + 7) / 8 * 8, results + c * kF32Rows + row - at.row);
        };
        if constexpr (kFloats) {
          if (in_place_only && in_place.fetch && c == 0) {
            return multiply(F32Rows<F, Besides::fetching>{block, args.row_bytes, next, nullptr});
          }
          if (in_place_only) return multiply(F32Rows<F, Besides::nothing>{block, args.row_bytes, nullptr, nullptr});
        }
        if constexpr (C <= Tile::kColumns) {
          if constexpr (kFloats) {
            // There is hardly any decoding to fetch with: a share of what comes next is, with each pass.
            for (; fetched < rows && fetched * args.x.m < rows * (c + C); ++fetched) fetch_next(fetched);
            if constexpr (Tile::template kMostInPlace<F> != SIZE_MAX) {
              if (by_tiles && c == 0) {
                return multiply(F32Rows<F, Besides::keeping>{block, args.row_bytes, nullptr, panel});
              }
            }
          }
          multiply(F32Rows<formats::F32, Besides::nothing>{reinterpret_cast<const std::uint8_t*>(panel),
                                                           kChunk * sizeof(float), nullptr, nullptr});
        }
      });
    }
  };
  in_panel_order<kF32Rows>(args, results, rows_of_chunk, height);
}

template <class Tile>
std::size_t f32_gemm_scratch(std::size_t m) {
  return (kF32PanelRows * kChunk + (m + Tile::kSideBySide - 1) * kF32Rows) * sizeof(float);
}

}  // namespace
}  // namespace quantlinear::cpu
