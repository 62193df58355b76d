// GEMV of super-blocks on AVX-512: sixteen weight rows at a time, blocks read in place, lanes along k.
//
// Sums over four k, which fit int16 for most formats, are packed before they are multiplied by their sub-scales: those
// of two rows then share a register, one multiplication applies the sub-scales and adds two sums, and half of the
// transposition is done.
#pragma once

#include "cpu/kernels/x86/avx512_unpack.hpp"
#include "cpu/kernels/x86/fetch.hpp"
#include "cpu/kernels/x86/six_bit_fields.hpp"
#include "cpu/kernels/x86/zmm.hpp"

namespace quantlinear::cpu {
namespace {

/// Formats whose blocks it takes.
template <class F>
inline constexpr bool kWideSuperBlocks = Avx512Unpack<F>::kByQuarters && requires {
  F::kScaleAt;
  requires F::kMaxScale > 1 && (!F::kHasMin || kSixBit<F>);
};

/// What is known of the sums of a format's block.
template <class F>
struct WideSums {
  static constexpr formats::QuarterOrder kOrder = Avx512Unpack<F>::kOrder;
  static constexpr int kUnits = F::kScaleStep / 16;
  /// Sub-scale of the 16 weights in part I of quarter J.
  static constexpr int sub_scale(int j, int i) { return kOrder.unit[j][i] / kUnits; }
  /// Whether quarters 0 and 1, 2 and 3 have the same sub-scales in the same places.
  static constexpr bool kPaired = [] {
    bool same = true;
    for (int i = 0; i < 4; ++i) same &= sub_scale(0, i) == sub_scale(1, i) && sub_scale(2, i) == sub_scale(3, i);
    return same;
  }();
  /// Sums with sub-scales of their own; quarter J is part of sum J * kCount / 4.
  static constexpr int kCount = kPaired ? 2 : 4;
  static constexpr int kMaxQ = F::kMaxU - F::kOffset > F::kOffset ? F::kMaxU - F::kOffset : F::kOffset;
  static constexpr bool kFitWords = 16 / kCount * 127 * kMaxQ <= 32767;
};

/// The 128-bit parts of each register added up: register g has four rows, which become dwords 4g .. 4g + 3.
[[gnu::always_inline]] inline __m512i add_parts(const __m512i (&v)[4]) {
  const auto two = [](__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  };
  return two(two(v[0], v[1]), two(v[2], v[3]));
}
/// The dwords of each 128-bit part added up: part l of register i becomes dword 4l + i.
[[gnu::always_inline]] inline __m512i add_dwords(const __m512i (&v)[4]) {
  return wide_pairs(wide_pairs(v[0], v[1]), wide_pairs(v[2], v[3]));
}

/// What stands beside the weights in the blocks of sixteen rows. Part l of register i is of row 4l + i.
template <class F>
class WideHeads {
 public:
  /// `block`: of the first row.
  [[gnu::always_inline]] void take(const std::uint8_t* block, std::size_t stride) {
    __m512i head[4];
    for (std::size_t i = 0; i < 4; ++i) {
      const auto of_row = [&](std::size_t row) { return load128(block + row * stride + kScaleHead); };
      head[i] = Avx512Vocabulary::join(of_row(i), of_row(4 + i), of_row(8 + i), of_row(12 + i));
    }
    const auto two = [](__m512i a, __m512i b) {
      return kScaleDword == 0 ? _mm512_unpacklo_epi32(a, b) : _mm512_unpackhi_epi32(a, b);
    };
    const __m512i a = two(head[0], head[1]), b = two(head[2], head[3]);
    scale_dwords_ = kScaleDword == 0 ? _mm512_unpacklo_epi64(a, b) : _mm512_unpackhi_epi64(a, b);
    if constexpr (kSixBit<F>) {
      static_assert(kScaleHead == 0 && F::kSixBitFieldAt == 4);
      __m512i fields[4];
      for (int i = 0; i < 4; ++i) {
        fields[i] = six_bit_fields(head[i]);
        mins_[i] = _mm512_unpackhi_epi8(fields[i], _mm512_setzero_si512());
      }
      for (int i = 0; i < 2; ++i) {
        _mm512_store_si512(scales_[i], _mm512_unpacklo_epi64(fields[2 * i], fields[2 * i + 1]));
      }
    }
  }

  [[nodiscard, gnu::always_inline]] __m512 d() const {
    const __m512i dwords = kHighHalf ? _mm512_srli_epi32(scale_dwords_, 16) : scale_dwords_;
    const __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(dwords));
    return F::kFactor == 1.0f ? d : _mm512_mul_ps(d, _mm512_set1_ps(F::kFactor));
  }
  [[nodiscard, gnu::always_inline]] __m512 dmin() const {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(scale_dwords_, 16)));
  }

  /// sum over j of m_j * (sum of a over sub-block j), of each row.
  [[nodiscard, gnu::always_inline]] __m512i min_sums(const A8Meta& meta) const {
    const __m512i a = _mm512_broadcast_i32x4(load128(meta.sums32));
    __m512i sums[4];
    for (int i = 0; i < 4; ++i) sums[i] = _mm512_madd_epi16(mins_[i], a);
    return add_dwords(sums);
  }

  /// Sub-scales of rows 4g + 2h and 4g + 2h + 1 (kSixBit): of each eight bytes.
  [[nodiscard]] __m128i scales_of_two(std::size_t g, std::size_t h) const { return load128(scales_[h] + 16 * g); }

 private:
  /// 16 bytes of the block that end with d, or begin with it, and the dword of them where it is.
  static constexpr int kScaleHead = F::kScaleAt + 16 <= F::kBlockBytes ? F::kScaleAt : F::kBlockBytes - 16;
  static constexpr int kScaleDword = (F::kScaleAt - kScaleHead) / 4;
  static constexpr bool kHighHalf = (F::kScaleAt - kScaleHead) % 4 != 0;
  static_assert(kScaleDword == 0 || kScaleDword == 3);

  /// The fields (layout: formats/q4_k.hpp) of four rows to 8 sub-scales and 8 mins of each.
  [[gnu::always_inline]] static __m512i six_bit_fields(__m512i head) {
    const auto all = [](int a, int b, int c, int d) { return _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, d)); };
    // Dwords: scales 0..3, scales 4..7, mins 0..3, mins 4..7.
    const __m512i low_source = all(0x07060504, 0x0f0e0d0c, 0x0b0a0908, 0x0f0e0d0c);
    const __m512i low_mask = all(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f);
    const __m512i high_source = all(-1, 0x07060504, -1, 0x0b0a0908);
    const __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi8(head, low_source), all(0, 0, 0, 4));
    const __m512i high = _mm512_srli_epi32(_mm512_shuffle_epi8(head, high_source), 2);
    return _mm512_or_si512(_mm512_and_si512(low, low_mask), _mm512_and_si512(high, _mm512_set1_epi32(0x30303030)));
  }

  __m512i scale_dwords_;  ///< the dwords where d is, of all rows in order
  __m512i mins_[4];       ///< as words (kSixBit)
  alignas(64) std::uint8_t scales_[2][64];
};

/// The sub-scales of two rows as words of the packed sums: in each 128-bit part of the s-th register four times that of
/// the first row and four times that of the second one.
template <class F, int S>
[[gnu::always_inline]] inline __m512i packed_scales(__m512i words) {
  using Sums = WideSums<F>;
  constexpr int kQuarter = S * 4 / Sums::kCount;
  constexpr auto kWord = [](int i, int row) { return 0x0001000100010001 * (16 * row + Sums::sub_scale(kQuarter, i)); };
  return _mm512_permutexvar_epi16(_mm512_setr_epi64(kWord(0, 0), kWord(0, 1), kWord(1, 0), kWord(1, 1), kWord(2, 0),
                                                    kWord(2, 1), kWord(3, 0), kWord(3, 1)),
                                  words);
}
/// The same from eight unsigned bytes of either row.
template <class F, int S>
[[gnu::always_inline]] inline __m512i packed_scales(__m128i bytes) {
  using Sums = WideSums<F>;
  constexpr int kQuarter = S * 4 / Sums::kCount;
  constexpr auto kByte = [](int i, int row) {
    return static_cast<long long>(0x8000800080008000) + 0x0001000100010001 * (8 * row + Sums::sub_scale(kQuarter, i));
  };
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes),
                             _mm512_setr_epi64(kByte(0, 0), kByte(0, 1), kByte(1, 0), kByte(1, 1), kByte(2, 0),
                                               kByte(2, 1), kByte(3, 0), kByte(3, 1)));
}
/// The sub-scales of one row as dwords of its sums.
template <class F, int S>
[[gnu::always_inline]] inline __m512i dword_scales(__m512i dwords) {
  using Sums = WideSums<F>;
  constexpr int kQuarter = S * 4 / Sums::kCount;
  constexpr auto kDword = [](int i) { return 0x0000000100000001 * Sums::sub_scale(kQuarter, i); };
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi64(kDword(0), kDword(0), kDword(1), kDword(1), kDword(2), kDword(2), kDword(3), kDword(3)),
      dwords);
}

/// The blocks of rows 4g + 2h and 4g + 2h + 1, of which `block` is the first one, against C columns: in each 128-bit
/// part two dwords of either row, which are to be added up, as are the parts.
template <class F, int C>
[[gnu::always_inline]] inline void two_rows(const std::uint8_t* block, std::size_t stride, const WideHeads<F>& heads,
                                            std::size_t g, std::size_t h, const ChunkX<A8Meta>& x,
                                            const __m512i (&offset)[WideSums<F>::kCount][C], __m512i (&scaled)[C]) {
  using Sums = WideSums<F>;
  constexpr int kQuarters = 4 / Sums::kCount;
  const auto scales_of = [&](std::size_t i) { return F::template scales<V>(block + i * stride); };
  [[maybe_unused]] __m128i bytes;
  [[maybe_unused]] __m512i words, dwords[2], rows[2][C];
  if constexpr (kSixBit<F>) {
    bytes = heads.scales_of_two(g, h);
  } else if constexpr (!Sums::kFitWords) {
    for (std::size_t i = 0; i < 2; ++i) dwords[i] = _mm512_cvtepi8_epi32(scales_of(i));
  } else {
    words = _mm512_cvtepi8_epi16(_mm256_inserti128_si256(_mm256_castsi128_si256(scales_of(0)), scales_of(1), 1));
  }
  unroll<Sums::kCount>([&]<int S>() __attribute__((always_inline)) {
    __m512i u[2][kQuarters];
    unroll<kQuarters>([&]<int Q>() __attribute__((always_inline)) {
      for (std::size_t i = 0; i < 2; ++i)
        u[i][Q] = Avx512Unpack<F>::template weights<S * kQuarters + Q>(block + i * stride);
    });
    const auto sum = [&](int i, int c) __attribute__((always_inline)) {
      __m512i total = offset[S][c];
      for (int q = 0; q < kQuarters; ++q) {
        total = _mm512_dpbusd_epi32(total, u[i][q], load512(x.column(c) + 64 * (S * kQuarters + q)));
      }
      return total;
    };
    if constexpr (!Sums::kFitWords) {
      const __m512i scale[2] = {dword_scales<F, S>(dwords[0]), dword_scales<F, S>(dwords[1])};
      for (int c = 0; c < C; ++c) {
        for (int i = 0; i < 2; ++i) {
          const __m512i product = _mm512_mullo_epi32(sum(i, c), scale[i]);
          rows[i][c] = S == 0 ? product : _mm512_add_epi32(rows[i][c], product);
        }
        if constexpr (S == Sums::kCount - 1) scaled[c] = wide_pairs(rows[0][c], rows[1][c]);
      }
    } else {
      const auto scale = [&]() __attribute__((always_inline)) {
        if constexpr (kSixBit<F>) {
          return packed_scales<F, S>(bytes);
        } else {
          return packed_scales<F, S>(words);
        }
      };
      const auto packed = [&](int c)
                              __attribute__((always_inline)) { return _mm512_packs_epi32(sum(0, c), sum(1, c)); };
      const auto add = [&](int c, __m512i sums, __m512i scales) __attribute__((always_inline)) {
        scaled[c] = S == 0 ? _mm512_madd_epi16(sums, scales) : _mm512_dpwssd_epi32(scaled[c], sums, scales);
      };
      if constexpr (kSixBit<F> && C == 1) {
        // The sums first, of the last ones even where the compiler prefers otherwise: Q4_K 4 to 6 %, Q5_K 5 to 9 %.
        const __m512i sums = packed(0);
        if constexpr (S == Sums::kCount - 1) asm("" : "+v"(bytes) : "v"(sums));
        add(0, sums, scale());
      } else {
        const __m512i scales = scale();
        for (int c = 0; c < C; ++c) add(c, packed(c), scales);
      }
    }
  });
}

/// Rows row .. row+15 against C columns from c0 on; of the results those from row `first` on are stored.
template <class F, int C>
[[gnu::noinline]] void gemv_super_rows(const ProductArgs& args, std::size_t row, std::size_t c0, std::size_t first) {
  constexpr int kCount = WideSums<F>::kCount;
  const std::size_t stride = args.row_bytes;
  const std::uint8_t* start = args.weights + row * stride;
  const auto stream = RowsAhead::of<F>(args, start, 16);
  const std::size_t blocks = args.in_features / 256;
  __m512 totals[C];
  for (auto& total : totals) total = _mm512_setzero_ps();
  for (std::size_t b = 0; b < blocks; ++b) {
    ChunkX<A8Meta> x(args.x, b, c0);
    const std::uint8_t* block = start + b * F::kBlockBytes;
    auto ahead = stream.pieces(start, b * F::kBlockBytes);
    WideHeads<F> heads;
    heads.take(block, stride);
    // What the offset of the weights takes.
    __m512i offset[kCount][C];
    unroll<4>([&]<int J>() __attribute__((always_inline)) {
      constexpr int kSum = J * kCount / 4;
      for (int c = 0; c < C; ++c) {
        if (J * kCount % 4 == 0) offset[kSum][c] = _mm512_setzero_si512();
        if constexpr (F::kOffset != 0) {
          const __m512i sum = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), _mm512_set1_epi8(static_cast<char>(F::kOffset)), load512(x.column(c) + 64 * J));
          offset[kSum][c] = _mm512_sub_epi32(offset[kSum][c], sum);
        }
      }
    });
    __m512i parts[C][4];
#pragma GCC unroll 1
    for (std::size_t g = 0; g < 4; ++g) {
      // Those of more columns than two are read again for each four rows: GCC would put them on the stack.
      if constexpr (C > 2) asm volatile("" : "+r"(x.q));
      __m512i scaled[2][C];
      unroll<2>([&]<int H>() __attribute__((always_inline)) {
        for (int i = 0; i < 2; ++i) {
          const std::uint8_t* piece = ahead.take();
          if constexpr (FetchTo<F>::kEachOnce) {
            prefetch_each_once<F::kBlockBytes, FetchTo<F>::kGemv>(piece);
          } else {
            prefetch<F::kBlockBytes, FetchTo<F>::kGemv>(piece);
          }
          if constexpr (FetchTo<F>::template kGemvTwice<C>) prefetch<F::kBlockBytes, FetchTo<F>::kGemv>(piece - kPage);
        }
        two_rows<F, C>(block, stride, heads, g, H, x, offset, scaled[H]);
        block += 2 * stride;
      });
      for (int c = 0; c < C; ++c) parts[c][g] = wide_pairs(scaled[0][c], scaled[1][c]);
    }
    const __m512 d = heads.d();
    for (int c = 0; c < C; ++c) {
      const __m512 da = _mm512_set1_ps(x.meta[c].scale[0]);
      totals[c] = _mm512_fmadd_ps(_mm512_mul_ps(d, da), _mm512_cvtepi32_ps(add_parts(parts[c])), totals[c]);
      if constexpr (F::kHasMin) {
        const __m512 sums = _mm512_cvtepi32_ps(heads.min_sums(x.meta[c]));
        totals[c] = _mm512_fnmadd_ps(_mm512_mul_ps(heads.dmin(), da), sums, totals[c]);
      }
    }
  }
  const auto mask = static_cast<__mmask16>(0xffffU << (first - row));
  for (int c = 0; c < C; ++c) {
    float* out = args.out + (c0 + static_cast<std::size_t>(c)) * args.out_stride + row;
    if (args.bias != nullptr) totals[c] = _mm512_add_ps(totals[c], _mm512_maskz_loadu_ps(mask, args.bias + row));
    _mm512_mask_storeu_ps(out, mask, totals[c]);
  }
}

/// Sixteen rows at a time, up to four columns a pass; the last rows together with some before them. Returns the row
/// after them, or the first one where the matrix has less than sixteen.
template <class F>
std::size_t gemv_super_by_sixteen_rows(const ProductArgs& args) noexcept {
  std::size_t row = args.row_begin;
  if (args.row_end < 16) return row;
  for (; row < args.row_end; row += 16) {
    const std::size_t start = row + 16 <= args.row_end ? row : args.row_end - 16;
    if (translations_of_gemv<F>(args)) fetch_translations(args, row, 16);
    in_passes<4>(args.x.m, [&]<int C>(std::size_t c0) { gemv_super_rows<F, C>(args, start, c0, row); });
  }
  return args.row_end;
}

}  // namespace
}  // namespace quantlinear::cpu
