// GEMV of small blocks of 32 on AVX-512: sixteen weight rows at a time, four blocks of each, blocks read in place.
//
// Four blocks of a row are 72 to 96 bytes. Two loads of 64 have them all, and one permutation of words takes the same
// 16 bytes of each, which saves two fifths of the instructions that joining them one by one takes. Sums of four rows
// are added up in 128-bit parts, a part for each block.
#pragma once

#include "cpu/kernels/x86/avx512_gemv_small.hpp"

namespace quantlinear::cpu {
namespace {

/// Byte operations on four blocks of a row, a 128-bit part for each.
template <class F>
struct FourBlocks : Avx512Vocabulary {
  static constexpr int kBytes = 4 * F::kBlockBytes, kBlockWords = F::kBlockBytes / 2;
  struct Blocks {
    const std::uint8_t* bytes;
    __m512i first, last;  ///< the first and the last 64 bytes of the four
    int at = 0;           ///< byte of a block that is meant
    explicit Blocks(const std::uint8_t* p)
        : bytes(p), first(_mm512_loadu_si512(p)), last(_mm512_loadu_si512(p + (kBytes - 64))) {}
    Blocks operator+(int more) const {
      Blocks moved = *this;
      moved.at += more;
      return moved;
    }
  };
  struct WordIndex {
    alignas(64) std::int16_t word[32];
    [[nodiscard]] __m512i load() const { return _mm512_load_si512(word); }
  };
  /// Where word w of the four blocks is in first and last.
  static constexpr std::int16_t place_of(int w) { return static_cast<std::int16_t>(w < 32 ? w : w + 64 - kBytes / 2); }

  static U8x64 sixteens(const Blocks& blocks) {
    static constexpr auto kAt = [] {
      struct {
        WordIndex of[kBlockWords - 7];
      } at{};
      for (int k = 0; k < kBlockWords - 7; ++k) {
        for (int i = 0; i < 32; ++i) at.of[k].word[i] = place_of(i / 8 * kBlockWords + k + i % 8);
      }
      return at;
    }();
    return _mm512_permutex2var_epi16(blocks.first, kAt.of[blocks.at / 2].load(), blocks.last);
  }
  template <class Halves>
  static Halves set_where(Halves u, const Blocks& bits, std::uint8_t value) {
    const auto of_block = [&](int i) { return bits.bytes + i * F::kBlockBytes + bits.at; };
    return Avx512Vocabulary::set_where(u, of_block(0), of_block(1), of_block(2), of_block(3), value);
  }
};

/// Formats whose blocks it takes.
template <class F>
inline constexpr bool kFoursOfBlocks =
    F::kFamily == Family::small_block && F::kBlockElements == 32 && F::kScaleStep == 32 && F::kBlockBytes % 2 == 0 &&
    F::kBlockBytes <= 24 && requires(typename FourBlocks<F>::Blocks b) { F::template halves<FourBlocks<F>>(b); };

/// d (and m, where there is one) of four blocks of sixteen rows, collected row by row.
template <class F>
class FourScales {
  using V4 = FourBlocks<F>;
  /// What a row has of them: d of the four blocks, and m after them.
  static constexpr int kOfRow = F::kHasMin ? 8 : 4, kRows = 32 / kOfRow;
  static_assert(F::kScaleAt == 0);  // m follows d

 public:
  template <int Row>
  [[gnu::always_inline]] void take(const typename V4::Blocks& blocks) {
    static constexpr auto kFields = [] {
      typename V4::WordIndex at{};
      for (int i = 0; i < 32; ++i) at.word[i] = V4::place_of(i % 4 * V4::kBlockWords + i % kOfRow / 4);
      return at;
    }();
    static constexpr bool kInFirst = 3 * V4::kBlockWords + F::kHasMin < 32;
    constexpr auto kMask = static_cast<__mmask32>(((1U << kOfRow) - 1) << (Row % kRows * kOfRow));
    __m512i& to = rows_[Row / kRows];
    if constexpr (Row % kRows == 0) {
      to = kInFirst ? _mm512_permutexvar_epi16(kFields.load(), blocks.first)
                    : _mm512_permutex2var_epi16(blocks.first, kFields.load(), blocks.last);
    } else if constexpr (kInFirst) {
      to = _mm512_mask_permutexvar_epi16(to, kMask, kFields.load(), blocks.first);
    } else {
      to = _mm512_mask_mov_epi16(to, kMask, _mm512_permutex2var_epi16(blocks.first, kFields.load(), blocks.last));
    }
  }

  /// d (Field 0) or m (1) of blocks 2 * Pair and 2 * Pair + 1.
  template <int Field, int Pair>
  [[nodiscard, gnu::always_inline]] __m512i two_blocks() const {
    // Words 0 .. 15 are those of rows 0 .. 15 of the first block.
    if constexpr (!F::kHasMin) return take_words<4, 2 * Pair, 16>(rows_[0], rows_[1]);
    constexpr int kFirst = 4 * Field;
    const __m512i low = take_words<8, kFirst, 8>(rows_[0], rows_[1]),
                  high = take_words<8, kFirst, 8>(rows_[2], rows_[3]);
    constexpr int kAt = 4 * Pair;
    return _mm512_permutex2var_epi64(
        low, _mm512_setr_epi64(kAt, kAt + 1, kAt + 8, kAt + 9, kAt + 2, kAt + 3, kAt + 10, kAt + 11), high);
  }

 private:
  /// Words First, First + Step, ... of both registers, Rows of them; then those from First + 1 on, and so on.
  template <int Step, int First, int Rows>
  static __m512i take_words(__m512i a, __m512i b) {
    static constexpr auto kAt = [] {
      typename V4::WordIndex at{};
      for (int i = 0; i < 32; ++i) at.word[i] = static_cast<std::int16_t>(i % Rows * Step + First + i / Rows);
      return at;
    }();
    return _mm512_permutex2var_epi16(a, kAt.load(), b);
  }

  __m512i rows_[16 / kRows];
};

/// Activations of four groups of 32 as four blocks of a row meet them.
struct alignas(64) FoursX {
  std::int8_t low[64];     ///< the first 16 values of each group
  std::int8_t high[64];    ///< the last 16
  std::int32_t start[16];  ///< what sums of four products of both begin with: minus what the offset adds to them
};

/// Memory for those of a call.
inline std::size_t fours_bytes(std::size_t m, std::size_t in_features) {
  return m * (in_features / 128) * sizeof(FoursX);
}
/// All activations of a call like that, in args.scratch: [four groups][column].
template <class F>
const FoursX* activations_by_fours(const ProductArgs& args) {
  auto* const all = reinterpret_cast<FoursX*>(args.scratch);
  FoursX* x = all;
  for (std::size_t four = 0; four < args.in_features / 128; ++four) {
    const ChunkX<A8Meta> chunk(args.x, four / 2, 0);
    for (std::size_t c = 0; c < args.x.m; ++c, ++x) {
      const std::int8_t* a = chunk.column(static_cast<int>(c)) + four % 2 * 128;
      const __m512i first = _mm512_loadu_si512(a), last = _mm512_loadu_si512(a + 64);
      const __m512i low = _mm512_shuffle_i32x4(first, last, 0x88), high = _mm512_shuffle_i32x4(first, last, 0xdd);
      const __m512i offset = _mm512_set1_epi8(static_cast<char>(F::kOffset)), zero = _mm512_setzero_si512();
      const __m512i added = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, offset, low), offset, high);
      _mm512_store_si512(x->low, low);
      _mm512_store_si512(x->high, high);
      _mm512_store_si512(x->start, _mm512_sub_epi32(zero, added));
    }
  }
  return all;
}

/// Rows row .. row+15 against C columns from c0 on. `activations`: activations_by_fours of the call.
template <class F, int C>
[[gnu::noinline]] void gemv_four_blocks(const ProductArgs& args, const FoursX* activations, std::size_t row,
                                        std::size_t c0) {
  using V4 = FourBlocks<F>;
  constexpr int kLargest = F::kMaxU - F::kOffset > F::kOffset ? F::kMaxU - F::kOffset : F::kOffset;
  const std::size_t stride = args.row_bytes, stride3 = 3 * stride;
  const std::uint8_t* start = args.weights + row * stride;
  const auto stream = RowsAhead::of<F>(args, start, 16);
  __m512 totals[C];
  for (auto& total : totals) total = _mm512_setzero_ps();
  auto ahead = stream.pieces(start, 0);
  const FoursX* x = activations + c0;
  for (std::size_t four = 0; four < args.in_features / 128; ++four, x += args.x.m) {
    const std::size_t at = four * V4::kBytes;
    if (four % 2 == 0) ahead = stream.pieces(start, at);
    const A8Meta* meta = ChunkX<A8Meta>(args.x, four / 2, c0).meta;
    for (int i = 0; i < 8; ++i) {
      prefetch<static_cast<int>(kRowChunkBytes<F>), FetchTo<F>::kGemv>(ahead.take());
    }
    __m512i low[C], high[C], zero[C];
    for (int c = 0; c < C; ++c) {
      low[c] = _mm512_load_si512(x[c].low);
      high[c] = _mm512_load_si512(x[c].high);
      zero[c] = F::kOffset != 0 ? _mm512_load_si512(x[c].start) : _mm512_setzero_si512();
    }
    FourScales<F> scales;
    // 128-bit parts: the sums of the four blocks; dwords: those of four rows.
    __m512i of_rows[4][C];
    const std::uint8_t* p = start + at;
    unroll<4>([&]<int H>() __attribute__((always_inline)) {
      __m512i one[C], two[C];
      unroll<4>([&]<int Q>() __attribute__((always_inline)) {
        const typename V4::Blocks blocks(p + (Q == 3 ? stride3 : Q * stride));
        const auto u = F::template halves<V4>(blocks);
        scales.template take<4 * H + Q>(blocks);
        for (int c = 0; c < C; ++c) {
          const __m512i product = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero[c], u.first, low[c]), u.second, high[c]);
          if constexpr (Q % 2 == 0) {
            one[c] = product;
          } else if constexpr (Q == 1) {
            two[c] = wide_pairs_of<8 * 127 * kLargest>(one[c], product);
          } else {
            of_rows[H][c] =
                wide_pairs_of<16 * 127 * kLargest>(two[c], wide_pairs_of<8 * 127 * kLargest>(one[c], product));
          }
        }
      });
      p += 4 * stride;
    });
    // Blocks 0 and 1, then 2 and 3, of all sixteen rows.
    const auto step = [&]<int Pair>() __attribute__((always_inline)) {
      const __m512i d = scales.template two_blocks<0, Pair>();
      [[maybe_unused]] __m512i m{};
      if constexpr (F::kHasMin) m = scales.template two_blocks<1, Pair>();
      for (int c = 0; c < C; ++c) {
        constexpr int kParts = Pair == 0 ? 0x44 : 0xee;
        const __m512i first = _mm512_shuffle_i32x4(of_rows[0][c], of_rows[1][c], kParts);
        const __m512i last = _mm512_shuffle_i32x4(of_rows[2][c], of_rows[3][c], kParts);
        const auto block = [&]<int B>() __attribute__((always_inline)) {
          const auto half = [](__m512i v) {
            return _mm512_cvtph_ps(B == 0 ? _mm512_castsi512_si256(v) : _mm512_extracti64x4_epi64(v, 1));
          };
          const int group = static_cast<int>(four % 2 * 4) + 2 * Pair + B;
          add_step<F>(totals[c], {half(d), half(m)}, meta[c], group,
                      _mm512_shuffle_i32x4(first, last, B == 0 ? 0x88 : 0xdd));
        };
        block.template operator()<0>();
        block.template operator()<1>();
      }
    };
    step.template operator()<0>();
    step.template operator()<1>();
  }
  store_sixteen_rows(args, row, c0, totals);
}

/// Sixteen rows at a time as far as they go, in fours_bytes of scratch memory; returns the row after them. in_features
/// is a multiple of 128.
template <class F>
std::size_t gemv_by_fours(const ProductArgs& args) noexcept {
  std::size_t row = args.row_begin;
  if (row + 16 > args.row_end) return row;
  const FoursX* x = activations_by_fours<F>(args);
  for (; row + 16 <= args.row_end; row += 16) {
    fetch_translations(args, row, 16);
    in_passes<4>(args.x.m, [&]<int C>(std::size_t c0) { gemv_four_blocks<F, C>(args, x, row, c0); });
  }
  return row;
}

}  // namespace
}  // namespace quantlinear::cpu
