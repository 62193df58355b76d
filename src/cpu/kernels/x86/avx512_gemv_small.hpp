// GEMV of small blocks of 32 on AVX-512: sixteen weight rows at a time, two blocks of each, blocks read in place.
//
// A register holds 16 weights of each of two blocks of two rows, so that the products of eight registers are transposed
// into two: the sums of either block, of all sixteen rows.
#pragma once

#include "cpu/isa/avx512_vocabulary.hpp"
#include "cpu/kernels/x86/gemv_small.hpp"
#include "cpu/kernels/x86/zmm.hpp"

namespace quantlinear::cpu {
namespace {

/// Formats whose blocks it takes.
template <class F>
inline constexpr bool kWideBlocks =
    F::kFamily == Family::small_block && F::kBlockElements == 32 && F::kScaleStep == 32 &&
    requires(Avx512Vocabulary::Blocks b) { F::template halves<Avx512Vocabulary>(b); };

/// d (and m, where there is one) of a block of sixteen rows.
struct WideScales {
  __m512 d, m;
};

/// dword(row) of rows 0 .. 15.
template <class DwordOf>
[[gnu::always_inline]] inline __m512i sixteen_dwords(DwordOf dword_of) {
  const auto four = [&](std::size_t row) {
    const auto dword = [&](std::size_t i) { return static_cast<int>(dword_of(row + i)); };
    __m128i v = _mm_cvtsi32_si128(dword(0));
    v = _mm_insert_epi32(v, dword(1), 1);
    v = _mm_insert_epi32(v, dword(2), 2);
    return _mm_insert_epi32(v, dword(3), 3);
  };
  return Avx512Vocabulary::join(four(0), four(4), four(8), four(12));
}

/// The halves at p, p + stride, ... of sixteen rows. Half of them by the vector units and half by the integer units,
/// which have time; those read two bytes before the halves of odd rows.
[[gnu::always_inline]] inline __m512 sixteen_halves(const std::uint8_t* p, std::size_t stride) {
  __m128i first = _mm_cvtsi32_si128(formats::le16(p));
  unroll<7>([&]<int I>() { first = _mm_insert_epi16(first, formats::le16(p + (I + 1) * stride), I + 1); });
  const auto four = [&](const std::uint8_t* q) {
    const auto two = [&](const std::uint8_t* r) -> std::uint64_t {
      return formats::le16(r) | (formats::le32(r + stride - 2) & 0xffff0000u);
    };
    return static_cast<long long>(two(q) | two(q + 2 * stride) << 32);
  };
  const __m128i last = _mm_set_epi64x(four(p + 12 * stride), four(p + 8 * stride));
  return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(first), last, 1));
}

/// `block` is that of the first row.
template <class F>
[[gnu::always_inline]] inline WideScales wide_scales(const std::uint8_t* block, std::size_t stride) {
  asm("" : "+r"(block));  // or GCC keeps addresses that the weights had
  WideScales scales{_mm512_setzero_ps(), _mm512_setzero_ps()};
  if constexpr (requires { F::kExponentAt; }) {
    const std::uint8_t* p = block + F::kExponentAt;
    const auto byte = [&](std::size_t row) { return std::uint32_t{p[row * stride]}; };
    const auto four = [&](int i) {
      const auto row = static_cast<std::size_t>(i);
      return static_cast<int>(byte(row) | byte(row + 1) << 8 | byte(row + 2) << 16 | byte(row + 3) << 24);
    };
    const __m512i exponent = _mm512_cvtepu8_epi32(_mm_setr_epi32(four(0), four(4), four(8), four(12)));
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(exponent, one), 23);
    const __mmask16 subnormal = _mm512_cmple_epi32_mask(exponent, one);
    scales.d = _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, subnormal, _mm512_set1_epi32(0x00200000), exponent));
  } else if constexpr (F::kHasMin) {
    static_assert(F::kScaleAt == 0);  // m follows d
    const __m512i v = sixteen_dwords([&](std::size_t row) { return formats::le32(block + row * stride); });
    scales.d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
    scales.m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)));
  } else {
    scales.d = sixteen_halves(block + F::kScaleAt, stride);
  }
  return scales;
}

/// One f32 step of sixteen rows: their integer sums of group `group` of a chunk, with the scales of its block.
template <class F>
[[gnu::always_inline]] inline void add_step(__m512& total, const WideScales& scales, const A8Meta& meta, int group,
                                            __m512i sum) {
  const __m512 da = _mm512_set1_ps(meta.scale[group]);
  total = _mm512_fmadd_ps(_mm512_mul_ps(scales.d, da), _mm512_cvtepi32_ps(sum), total);
  if constexpr (F::kHasMin) {
    const __m512 sums = _mm512_set1_ps(static_cast<float>(meta.sums32[group]));
    total = _mm512_fmadd_ps(_mm512_mul_ps(scales.m, da), sums, total);
  }
}

/// Writes the results of rows row .. row+15, with the bias.
template <int C>
[[gnu::always_inline]] inline void store_sixteen_rows(const ProductArgs& args, std::size_t row, std::size_t c0,
                                                      __m512 (&totals)[C]) {
  for (int c = 0; c < C; ++c) {
    if (args.bias != nullptr) totals[c] = _mm512_add_ps(totals[c], _mm512_loadu_ps(args.bias + row));
    _mm512_storeu_ps(args.out + (c0 + static_cast<std::size_t>(c)) * args.out_stride + row, totals[c]);
  }
}

/// Rows row .. row+15 against C columns from c0 on.
template <class F, int C>
[[gnu::noinline]] void gemv_sixteen_rows(const ProductArgs& args, std::size_t row, std::size_t c0) {
  using W = Avx512Vocabulary;
  const std::size_t stride = args.row_bytes, stride3 = 3 * stride;
  constexpr std::size_t kChunkBytes = kChunk / 32 * F::kBlockBytes;
  const std::uint8_t* start = args.weights + row * stride;
  const auto stream = RowsAhead::of<F>(args, start, 16);
  __m512 totals[C];
  for (auto& total : totals) total = _mm512_setzero_ps();
  for (std::size_t chunk = 0, at = 0; at < args.row_bytes; ++chunk, at += kChunkBytes) {
    const ChunkX<A8Meta> x(args.x, chunk, c0);
    const std::size_t left = args.in_features / 32 - 8 * chunk;
    const int groups = left < 8 ? static_cast<int>(left) : 8;
    const std::uint8_t* block = start + at;
    auto ahead = stream.pieces(start, at);
    // Groups g and g + 1 of 32 weights, or g alone.
    const auto unit = [&]<bool Two>(int g) __attribute__((always_inline)) {
      for (int i = 0; i < 4; ++i) {
        prefetch<static_cast<int>(kChunkBytes), FetchTo<F>::kGemv>(ahead.take());
      }
      __m512i a[C][2];  // 16 values of either group, twice
      for (int c = 0; c < C; ++c) {
        const __m512i v = _mm512_loadu_si512(x.column(c) + 32 * g);
        a[c][0] = _mm512_shuffle_i32x4(v, v, 0x88);
        a[c][1] = _mm512_shuffle_i32x4(v, v, 0xdd);
      }
      // 128-bit parts: the sums of rows 0 .. 3 of the first block, of the second one, of rows 4 .. 7 of both.
      __m512i eight[2][C];
      const std::uint8_t* p = block;
      unroll<2>([&]<int H>() __attribute__((always_inline)) {
        __m512i one[C], two[C];
        unroll<4>([&]<int Q>() __attribute__((always_inline)) {
          const std::uint8_t* r = p + (Q == 3 ? stride3 : Q * stride);
          const auto u = F::template halves<W>({r, r + 4 * stride, Two ? std::size_t{F::kBlockBytes} : 0});
          for (int c = 0; c < C; ++c) {
            const __m512i first = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u.first, a[c][0]);
            const __m512i product = _mm512_dpbusd_epi32(first, u.second, a[c][1]);
            if constexpr (Q % 2 == 0) {
              one[c] = product;
            } else if constexpr (Q == 1) {
              two[c] = wide_pairs_of<8 * 127 * F::kMaxU>(one[c], product);
            } else {
              eight[H][c] = wide_pairs(two[c], wide_pairs_of<8 * 127 * F::kMaxU>(one[c], product));
            }
          }
        });
        p += 8 * stride;
      });
      const auto step = [&]<int B>() __attribute__((always_inline)) {
        const WideScales scales = wide_scales<F>(block + B * F::kBlockBytes, stride);
        for (int c = 0; c < C; ++c) {
          __m512i sum = _mm512_shuffle_i32x4(eight[0][c], eight[1][c], B == 0 ? 0x88 : 0xdd);
          if constexpr (F::kOffset != 0) {
            sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(F::kOffset * x.meta[c].sums32[g + B]));
          }
          add_step<F>(totals[c], scales, x.meta[c], g + B, sum);
        }
      };
      step.template operator()<0>();
      if constexpr (Two) step.template operator()<1>();
      block += 2 * F::kBlockBytes;
    };
    int g = 0;
#pragma GCC unroll 1
    for (; g + 1 < groups; g += 2) unit.template operator()<true>(g);
    if (g < groups) unit.template operator()<false>(g);
  }
  store_sixteen_rows(args, row, c0, totals);
}

/// Sixteen rows at a time as far as they go; returns the row after them.
template <class F>
std::size_t gemv_by_sixteen_rows(const ProductArgs& args) noexcept {
  std::size_t row = args.row_begin;
  for (; row + 16 <= args.row_end; row += 16) {
    fetch_translations(args, row, 16);
    in_passes<4>(args.x.m, [&]<int C>(std::size_t c0) { gemv_sixteen_rows<F, C>(args, row, c0); });
  }
  return row;
}

}  // namespace
}  // namespace quantlinear::cpu
