// Few activation rows: eight weight rows at a time, blocks read in place, lanes along k.
//
// Dot (avx2_dot.hpp, avx512_dot.hpp) multiplies a block of one row; here eight such integer sums are transposed into
// one register, so that the f32 step costs an eighth per row. The weight stream is prefetched by hand: the hardware
// prefetcher stops at each 4 KiB page.
#pragma once

#include "cpu/kernel_table.hpp"
#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// Columns one pass over eight rows takes at the most.
inline constexpr int kGemvColumns = 4;
/// How far ahead of the block at hand each row stream is fetched, in bytes.
inline constexpr std::size_t kPrefetch = 1024;

/// Integer sums of one super-block of one row against C columns, still spread over eight lanes:
/// s = sum s_j q a, and m = sum m_j a where the format has mins.
template <class F, int C>
struct LaneSums {
  __m256i s[C];
  __m256i m[C];
};

template <int Bytes>
[[gnu::always_inline]] inline void prefetch(const std::uint8_t* p) {
  for (int i = 0; i < Bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p) + i, _MM_HINT_T0);
}

/// acc[c] += all of k, for eight rows and C columns from c0; super-block formats.
template <class F, class Meta, class Dot, int C>
[[gnu::noinline]] void gemv_super(const ProductArgs& args, const Rows8& rows, std::size_t c0, __m256 (&acc)[C]) {
  const std::size_t blocks = args.in_features / 256;
  // Past the end of a row the stream goes on eight rows further down.
  const std::size_t next_rows = 7 * args.row_bytes;
  for (std::size_t b = 0; b < blocks; ++b) {
    const ChunkX<Meta> x(args.x, b, c0);
    const std::size_t at = b * F::kBlockBytes;
    const std::size_t ahead = at + kPrefetch < args.row_bytes ? at + kPrefetch : at + kPrefetch + next_rows;
    __m256i s[C][8], m[C][8];
#pragma GCC unroll 1
    for (int i = 0; i < 8; ++i) {
      prefetch<F::kBlockBytes>(rows.row[i] + ahead);
      LaneSums<F, C> sums;
      Dot::template super_block_sums<F, C>(rows.row[i] + at, x, sums);
      for (int c = 0; c < C; ++c) {
        s[c][i] = sums.s[c];
        if constexpr (F::kHasMin) m[c][i] = sums.m[c];
      }
    }
    const __m256 d = scales8<F>(rows, at);
    __m256 dmin{};
    if constexpr (F::kHasMin) dmin = halves8(rows, at, [](const std::uint8_t* p) { return F::dmin_bits(p); });
    for (int c = 0; c < C; ++c) {
      const __m256 da = _mm256_broadcast_ss(&x.meta[c].scale[0]);
      acc[c] = _mm256_fmadd_ps(_mm256_mul_ps(d, da), _mm256_cvtepi32_ps(sums8(s[c])), acc[c]);
      if constexpr (F::kHasMin) {
        acc[c] = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, da), _mm256_cvtepi32_ps(sums8(m[c])), acc[c]);
      }
    }
  }
}

/// Dot::group_sums of instruction sets that multiply one row by one column at a time.
template <class Dot, class Meta, int C>
[[gnu::always_inline]] inline void group_sums_by_column(const __m256i (&u)[8], const ChunkX<Meta>& x, int group,
                                                        HalfSums (&sums)[C]) {
  for (int c = 0; c < C; ++c) {
    __m256i products[8];
    for (int i = 0; i < 8; ++i) products[i] = Dot::group_products(u[i], x, c, group);
    sums[c] = half_sums(products);
  }
}

/// As gemv_super, for small-block formats: one f32 step per scale (16 or 32 weights).
template <class F, class Meta, class Dot, int C>
[[gnu::noinline]] void gemv_small(const ProductArgs& args, const Rows8& rows, std::size_t c0, __m256 (&acc)[C]) {
  constexpr int kGroups = F::kBlockElements / 32;  // per block
  const std::size_t blocks = args.in_features / F::kBlockElements;
  const std::size_t next_rows = 7 * args.row_bytes;
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first_group = b * kGroups;
    const ChunkX<Meta> x(args.x, first_group / 8, c0);
    const std::size_t at = b * F::kBlockBytes;
    if (b % (64 * 2 / F::kBlockBytes + 1) == 0) {
      const std::size_t ahead = at + kPrefetch < args.row_bytes ? at + kPrefetch : at + kPrefetch + next_rows;
      for (int i = 0; i < 8; ++i) prefetch<128>(rows.row[i] + ahead);
    }
    __m256 d{}, min{};
    if constexpr (F::kScaleStep == 32) d = scales8<F>(rows, at);
    if constexpr (F::kHasMin) min = halves8(rows, at, [](const std::uint8_t* p) { return F::m_bits(p); });
    unroll<kGroups>([&]<int J>() {
      const int g = static_cast<int>(first_group % 8) + J;  // group in the chunk
      __m256i u[8];
      unroll<8>([&]<int I>() { u[I] = F::template group<V, J>(rows.row[I] + at); });
      HalfSums sums[C];
      Dot::group_sums(u, x, g, sums);
      __m256 d_low{}, d_high{};
      if constexpr (F::kScaleStep == 16) {
        d_low = scales8<F, 2 * J>(rows, at);
        d_high = scales8<F, 2 * J + 1>(rows, at);
      }
      for (int c = 0; c < C; ++c) {
        const __m256 da = _mm256_broadcast_ss(&x.meta[c].scale[g]);
        const auto step = [&](__m256 scale, __m256i sum, int sum_of_a) {
          if constexpr (F::kOffset != 0) sum = _mm256_sub_epi32(sum, _mm256_set1_epi32(F::kOffset * sum_of_a));
          acc[c] = _mm256_fmadd_ps(_mm256_mul_ps(scale, da), _mm256_cvtepi32_ps(sum), acc[c]);
        };
        if constexpr (F::kScaleStep == 32) {
          step(d, _mm256_add_epi32(sums[c].low, sums[c].high), x.meta[c].sums32[g]);
          if constexpr (F::kHasMin) {
            const __m256 sum = _mm256_set1_ps(static_cast<float>(x.meta[c].sums32[g]));
            acc[c] = _mm256_fmadd_ps(_mm256_mul_ps(min, da), sum, acc[c]);
          }
        } else {
          step(d_low, sums[c].low, x.meta[c].sums16[2 * g]);
          step(d_high, sums[c].high, x.meta[c].sums16[2 * g + 1]);
        }
      }
    });
  }
}

/// Adds the bias and writes the first rows.count lanes.
[[gnu::always_inline]] inline void store_rows(const ProductArgs& args, std::size_t row, std::size_t count,
                                              std::size_t column, __m256 value) {
  float lanes[8];
  float* out = args.out + column * args.out_stride + row;
  if (count == 8) {
    if (args.bias != nullptr) value = _mm256_add_ps(value, _mm256_loadu_ps(args.bias + row));
    _mm256_storeu_ps(out, value);
    return;
  }
  _mm256_storeu_ps(lanes, value);
  for (std::size_t i = 0; i < count; ++i) out[i] = args.bias != nullptr ? lanes[i] + args.bias[row + i] : lanes[i];
}

/// All rows of the call, up to kGemvColumns columns a pass; the rows stay in the caches between passes.
template <class F, class Meta, class Dot>
void gemv(const ProductArgs& args) noexcept {
  for (std::size_t row = args.row_begin; row < args.row_end; row += 8) {
    const Rows8 rows(args.weights, args.row_bytes, row, args.row_end);
    const auto pass = [&]<int C>(std::size_t c0) {
      __m256 acc[C];
      for (int c = 0; c < C; ++c) acc[c] = _mm256_setzero_ps();
      if constexpr (F::kFamily == Family::super_block) {
        gemv_super<F, Meta, Dot, C>(args, rows, c0, acc);
      } else {
        gemv_small<F, Meta, Dot, C>(args, rows, c0, acc);
      }
      for (int c = 0; c < C; ++c) store_rows(args, row, rows.count, c0 + static_cast<std::size_t>(c), acc[c]);
    };
    std::size_t c0 = 0;
    for (; c0 + 4 <= args.x.m; c0 += 4) pass.template operator()<4>(c0);
    switch (args.x.m - c0) {
      case 3:
        pass.template operator()<3>(c0);
        break;
      case 2:
        pass.template operator()<2>(c0);
        break;
      case 1:
        pass.template operator()<1>(c0);
        break;
      default:
        break;
    }
  }
}

}  // namespace
}  // namespace quantlinear::cpu
