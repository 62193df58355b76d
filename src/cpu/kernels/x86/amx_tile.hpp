// GEMM of super-blocks in tile registers: up to 16 columns of activations x 16 weight rows x 64 k an instruction.
//
// Operands meet each other, which makes two or four sums:
//   activations   a8: 16 columns;  a16: their low and their high bytes
//   weights       a8: both planes (amx_planes.hpp) of 16 rows, or, where there is one, both 16 rows of a panel;
//                 a16: both planes, or the one there is, of 16 rows
// Sums are taken over all 256 k. While the processor multiplies, the f32 steps of the sums before run beside it; two
// sums take turns with the registers of the two after them.
#pragma once

#include "cpu/kernels/x86/amx.hpp"
#include "cpu/kernels/x86/amx_planes.hpp"
#include "cpu/kernels/x86/dot_tiles.hpp"
#include "cpu/kernels/x86/gemm.hpp"

namespace quantlinear::cpu {
namespace {

template <class F, Precision P>
class AmxTile {
  using W = Planes<F>;
  static constexpr bool kPlanesOfX = P == Precision::a16;
  static constexpr int kXs = kPlanesOfX ? 2 : 1;                    ///< operands of activations
  static constexpr int kWs = kPlanesOfX && W::kCount == 1 ? 1 : 2;  ///< operands of weights
  static constexpr bool kBothHalves = !kPlanesOfX && W::kCount == 1;
  static constexpr int kSums = kXs * kWs;
  static constexpr int kSets = 4 / kSums;  ///< of registers for sums
  /// Fewer columns are multiplied as without tile registers, where the panels are the same.
  static constexpr std::size_t kFewest = kPlanesOfX ? 1 : W::kCount == 1 ? 12 : 20;

 public:
  /// Where a GEMV in lanes ends at the latest: weights of one plane pay early.
  static constexpr std::size_t kLanesEnd = W::kCount == 1 ? kFewest : ~std::size_t{0};
  using Panel = BytePanel<32>;
  using Meta = std::conditional_t<kPlanesOfX, A16Meta, A8Meta>;
  static constexpr int kColumns = 16;
  static std::string_view path(std::size_t columns) {
    if (columns < kFewest) return "8-bit panels of rows x 256";
    return W::kCount == 1 ? "tile registers, weights as bytes" : "tile registers, weights as two planes of bytes";
  }
  static std::size_t tile_columns(std::size_t columns) {
    return columns < kFewest ? static_cast<std::size_t>(DotByteTile<F, ZmmRows, false>::kColumns) : kColumns;
  }
  /// Activations of a16 come as planes.
  static constexpr bool kPlanes = kPlanesOfX;

  struct Memory {
    typename W::Second second;
    /// a16: the mins against split sums (PanelScales), which the packers of byte panels do not make.
    alignas(64) std::int32_t min_factor[16][Panel::kRows];
    /// Sums of two units in turn: [operand of activations, of weights][column][row].
    alignas(64) std::int32_t sums[2][kSums][16][16];
  };

  AmxTile(std::size_t columns, Memory& memory)
      : columns_(columns),
        tiles_((columns + 15) / 16),
        rows_((columns + tiles_ - 1) / tiles_),
        memory_(memory),
        registers_(shapes(rows_)) {}

  /// Adds the products of a panel of 256 k to results [column][row].
  void multiply(Panel& panel, int groups, const Activations& x, std::size_t chunk, float* results) {
    if constexpr (kFewest > 1) {
      using Few = InPasses<DotByteTile<F, ZmmRows, false>>;
      typename Few::Memory none;
      if (columns_ < kFewest) return Few(columns_, none).multiply(panel, groups, x, chunk, results);
    }
    W::fold(panel, memory_.second);
    if constexpr (F::kHasMin && kPlanesOfX) split_mins(panel.scales);
    const ChunkX<Meta> chunk_x(x, chunk, 0);
    Unit last{};
    int turn = 0;
    for (std::size_t tile = 0; tile < tiles_; ++tile) {
      const std::size_t first = first_column(tile), skip = tile * rows_ - first;
      for (std::size_t half = 0; half < (kBothHalves ? 1 : 2); ++half) {
        const Unit next{rows_, first, skip, half};
        if (kSets == 2 && turn == 1) {
          compute<kSets - 1>(panel, chunk_x, next, last, turn, results);
        } else {
          compute<0>(panel, chunk_x, next, last, turn, results);
        }
        last = next;
        turn ^= 1;
      }
    }
    for (std::size_t part = 0; part < kParts; ++part) finish(panel.scales, chunk_x, last, turn ^ 1, part, results);
  }

 private:
  /// The f32 steps of a unit are done in so many parts, between the instructions of the next one.
  static constexpr int kParts = 2;

  /// What is multiplied in one go: 16 columns, and which half of the panel where not both.
  struct Unit {
    std::size_t columns = 0;
    std::size_t first = 0;  ///< column
    std::size_t skip = 0;   ///< columns that the unit before has, too
    std::size_t half = 0;
  };

  static TileShapes shapes(std::size_t rows) {
    TileShapes s;
    for (int t = 0; t < 6; ++t) s.set(t, rows, 64);
    for (int t = 6; t < 8; ++t) s.set(t, 16, 64);
    return s;
  }
  /// The first column of a tile: the last one overlaps the one before it rather than be shorter.
  [[nodiscard]] std::size_t first_column(std::size_t tile) const {
    const std::size_t first = tile * rows_;
    return first + rows_ <= columns_ ? first : columns_ - rows_;
  }

  // Registers: sums 0 .. 3, activations 4 and 5, weights 6 and 7. Single operands take turns, too.
  template <int Set, int I>
  static constexpr int kRegisterOfX = kXs == 2 ? 4 + I : 4 + Set;
  template <int Set, int J>
  static constexpr int kRegisterOfW = kWs == 2 ? 6 + J : 6 + Set;
  template <int Set, int I, int J>
  static constexpr int kRegisterOfSum = Set * kSums + I * kWs + J;

  template <int Set, int I>
  [[gnu::always_inline]] static void load_x(const ChunkX<Meta>& x, const Unit& unit, int k) {
    const std::int8_t* column = x.q + unit.first * ChunkX<Meta>::kColumnBytes;
    tile_load<kRegisterOfX<Set, I>>(column + (I == 1 ? kChunk : 0) + k, ChunkX<Meta>::kColumnBytes);
  }
  template <int Set, int J>
  [[gnu::always_inline]] void load_w(const Panel& panel, const Unit& unit, int k) const {
    const auto& u = W::kCount == 2 && J == 1 ? memory_.second.u : panel.u;
    tile_load<kRegisterOfW<Set, J>>(u[k / 4][16 * (kBothHalves ? J : unit.half)], sizeof u[0]);
  }
  template <int Set, int I, int J>
  [[gnu::always_inline]] static void dot() {
    tile_dot<kRegisterOfSum<Set, I, J>, kRegisterOfX<Set, I>, !kPlanesOfX || I == 1, kRegisterOfW<Set, J>,
             W::signed_plane(W::kCount == 2 ? J : 0)>();
  }
  /// Products of one step of k.
  template <int Set>
  [[gnu::always_inline]] void dots(const Panel& panel, const ChunkX<Meta>& x, const Unit& unit, int k) const {
    load_x<Set, 0>(x, unit, k);
    load_w<Set, 0>(panel, unit, k);
    dot<Set, 0, 0>();
    if constexpr (kWs == 2) {
      load_w<Set, 1>(panel, unit, k);
      dot<Set, 0, 1>();
    }
    if constexpr (kXs == 2) {
      load_x<Set, 1>(x, unit, k);
      dot<Set, 1, 0>();
      if constexpr (kWs == 2) dot<Set, 1, 1>();
    }
  }
  template <int Set>
  [[gnu::always_inline]] static void clear() {
    unroll<kSums>([]<int I>() __attribute__((always_inline)) { tile_zero<Set * kSums + I>(); });
  }
  template <int Set>
  [[gnu::always_inline]] static void store(std::int32_t (&to)[kSums][16][16]) {
    unroll<kSums>([&]<int I>() __attribute__((always_inline)) { tile_store<Set * kSums + I>(to[I], 64); });
  }

  /// The sums of `unit`; beside it the f32 steps of the unit before it.
  template <int Set>
  [[gnu::noinline]] void compute(const Panel& panel, const ChunkX<Meta>& x, const Unit unit, const Unit before,
                                 int turn, float* results) {
    clear<Set>();
#pragma GCC unroll 1
    for (int part = 0; part < kParts; ++part) {
      dots<Set>(panel, x, unit, 128 * part);
      dots<Set>(panel, x, unit, 128 * part + 64);
      if (columns_ > 64) fetch_next(x, unit, static_cast<std::size_t>(part));
      finish(panel.scales, x, before, turn ^ 1, static_cast<std::size_t>(part), results);
    }
    store<Set>(memory_.sums[turn]);
  }

  /// Of more columns than the first-level cache holds, a part of those of the next tile.
  [[gnu::always_inline]] void fetch_next(const ChunkX<Meta>& x, const Unit& unit, std::size_t part) const {
    constexpr std::size_t kHalves = kBothHalves ? 1 : 2, kShare = ChunkX<Meta>::kColumnBytes / kHalves / kParts;
    const std::size_t share = kBothHalves ? part : kParts * unit.half + part;
    const std::int8_t* next = x.q + (unit.first + unit.columns) * ChunkX<Meta>::kColumnBytes;
    for (std::size_t c = 0; c < unit.columns; ++c) {
      prefetch<static_cast<int>(kShare)>(next + c * ChunkX<Meta>::kColumnBytes + share * kShare);
    }
  }

  /// The part-th part of the columns of a unit (none if it has none).
  [[gnu::always_inline]] void finish(const PanelScales<32>& s, const ChunkX<Meta>& x, const Unit& unit, int turn,
                                     std::size_t part, float* results) const {
    const std::size_t count = unit.columns - unit.skip;
    const std::size_t begin = unit.skip + part * count / kParts, end = unit.skip + (part + 1) * count / kParts;
    const auto& sums = memory_.sums[turn];
    for (std::size_t half = kBothHalves ? 0 : unit.half; half < (kBothHalves ? 2 : unit.half + 1); ++half) {
      const auto sum_of = [&](std::size_t i) __attribute__((always_inline)) {
        const auto load = [&](std::size_t operands) { return _mm512_load_si512(sums[operands][i]); };
        if constexpr (kBothHalves) {
          return load(half);
        } else if constexpr (kSums == 4) {
          return shifted_sum<8>(shifted_sum<W::kShift>(load(0), load(1)), shifted_sum<W::kShift>(load(2), load(3)));
        } else {
          return shifted_sum<kPlanesOfX ? 8 : W::kShift>(load(0), load(1));
        }
      };
      steps(s, x.meta + unit.first, begin, end, 16 * half, results + unit.first * Panel::kRows + 16 * half, sum_of);
    }
  }
  template <int Shift>
  [[gnu::always_inline]] static __m512i shifted_sum(__m512i low, __m512i high) {
    return _mm512_add_epi32(low, _mm512_slli_epi32(high, Shift));
  }
  /// The f32 steps of columns begin ... end - 1 and 16 rows of the panel from `row` on.
  [[gnu::always_inline]] void steps(const PanelScales<32>& s, const Meta* meta, std::size_t begin, std::size_t end,
                                    std::size_t row, float* out, const auto& sum_of) const {
    // Registers: the compiler would load them again after each store.
    constexpr int kMins = !F::kHasMin ? 0 : 256 / F::kScaleStep / (kPlanesOfX ? 1 : 2);
    const __m512 d = _mm512_load_ps(&s.d[0][row]), dmin = _mm512_load_ps(&s.min[0][row]);
    __m512i mins[kMins + 1];
    for (int i = 0; i < kMins; ++i) {
      mins[i] = _mm512_load_si512(kPlanesOfX ? &memory_.min_factor[i][row] : &s.sums_factor[i][row]);
    }
#pragma GCC unroll 1
    for (std::size_t i = begin; i < end; ++i) {
      const __m512 da = _mm512_set1_ps(meta[i].scale[0]), sum = _mm512_cvtepi32_ps(sum_of(i));
      float* to = out + i * Panel::kRows;
      __m512 acc = _mm512_load_ps(to);
      acc = W::kNegated ? _mm512_fnmadd_ps(_mm512_mul_ps(d, da), sum, acc)
                        : _mm512_fmadd_ps(_mm512_mul_ps(d, da), sum, acc);
      if constexpr (F::kHasMin) {
        __m512i m = _mm512_setzero_si512();
        for (int j = 0; j < kMins; ++j) {
          m = _mm512_dpwssd_epi32(m, mins[j], _mm512_set1_epi32(pair_of_sums(meta[i], j)));
        }
        acc = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, da), _mm512_cvtepi32_ps(m), acc);
      }
      _mm512_store_ps(to, acc);
    }
  }
  /// a8: two sums; a16: one, split in two.
  static std::int32_t pair_of_sums(const Meta& meta, int i) {
    std::int32_t pair;
    if constexpr (kPlanesOfX) {
      std::memcpy(&pair, F::kScaleStep == 32 ? meta.split32[i] : meta.split16[i], 4);
    } else {
      std::memcpy(&pair, (F::kScaleStep == 32 ? meta.sums32 : meta.sums16) + 2 * i, 4);
    }
    return pair;
  }

  /// Pairs of mins to dwords (512 min, min).
  void split_mins(const PanelScales<32>& s) {
    const __m512i factor = _mm512_set1_epi32(kSplitMin), low = _mm512_set1_epi32(0xffff);
    for (int i = 0; i < 128 / F::kScaleStep; ++i) {
      for (int row = 0; row < 32; row += 16) {
        const __m512i pair = _mm512_load_si512(&s.sums_factor[i][row]);
        _mm512_store_si512(&memory_.min_factor[2 * i][row], _mm512_mullo_epi32(_mm512_and_si512(pair, low), factor));
        _mm512_store_si512(&memory_.min_factor[2 * i + 1][row],
                           _mm512_mullo_epi32(_mm512_srli_epi32(pair, 16), factor));
      }
    }
  }

  std::size_t columns_, tiles_, rows_;
  Memory& memory_;
  TileRegisters registers_;
};

}  // namespace
}  // namespace quantlinear::cpu
