// Few activation rows: eight weight rows at a time, blocks read in place, lanes along k.
//
// Dot (avx2_dot.hpp, avx512_dot.hpp) multiplies a block of one row; here eight such integer sums are transposed into
// one register, so that the f32 step costs an eighth per row.
#pragma once

#include "cpu/kernel_table.hpp"
#include "cpu/kernels/x86/fetch.hpp"
#include "cpu/kernels/x86/six_bit_fields.hpp"

namespace quantlinear::cpu {
namespace {

/// Columns one pass over eight rows takes at the most: four, if Dot does not say.
template <class F, class Meta, class Dot>
consteval int gemv_columns() {
  if constexpr (requires { Dot::template kColumns<F, Meta>; }) {
    return Dot::template kColumns<F, Meta>;
  } else {
    return 4;
  }
}
/// Integer sums of one super-block of one row against C columns, still spread over eight lanes:
/// s = sum s_j q a, and m = sum m_j a where mins are not summed for eight rows at once (kMinsOf8).
template <class F, int C>
struct LaneSums {
  __m256i s[C];
  __m256i m[C];
};

/// What Dot takes from the blocks of eight rows before it multiplies the first one, if anything.
template <class F, class Meta, class Dot>
struct AheadOf {
  using Type = char;
};
template <class F, class Meta, class Dot>
  requires Dot::template
kAhead<F, Meta> struct AheadOf<F, Meta, Dot> {
  using Type = typename Dot::template Ahead<F>;
};

/// Whether the activations of C columns stay in registers for eight rows: not, if Dot does not say.
template <class F, class Meta, class Dot, int C>
inline constexpr bool kHoldsActivations = requires { requires Dot::template kHoldsActivations<F, Meta, C>; };

/// Whether Dot wants the magnitudes of the activations beside them.
template <class F, class Meta, class Dot, int C>
inline constexpr bool kMagnitudes = requires { requires Dot::template kMagnitudes<F, Meta, C>; };

/// acc[c] += all of k, for eight rows and C columns from c0; super-block formats.
template <class F, class Meta, class Dot, int C>
[[gnu::noinline]] void gemv_super(const ProductArgs& args, const Rows8& all_rows, std::size_t c0, __m256 (&acc)[C]) {
  using Fields = typename Dot::template SixBit<Meta, C>;
  constexpr bool kFieldsOf8 = kSixBit<F> && requires(const Fields& fields) { fields.of(0); };
  constexpr bool kAhead = requires { requires Dot::template kAhead<F, Meta>; };
  typename AheadOf<F, Meta, Dot>::Type ahead_of_row[kAhead ? 8 : 1];
  const Rows8 rows = all_rows;  // copies stay in registers
  __m256 total[C];
  for (int c = 0; c < C; ++c) total[c] = acc[c];
  const std::size_t blocks = args.in_features / 256;
  const auto stream = RowsAhead::of<F>(args, rows.base, 8);
  for (std::size_t b = 0; b < blocks; ++b) {
    ChunkX<Meta> x(args.x, b, c0);
    alignas(32) std::int8_t magnitudes[kMagnitudes<F, Meta, Dot, C> ? C * kChunk : 1];
    if constexpr (kMagnitudes<F, Meta, Dot, C>) {
      for (std::size_t i = 0; i < C * kChunk; i += 32) store256(magnitudes + i, _mm256_abs_epi8(load256(x.q + i)));
      x.magnitudes = magnitudes;
    }
    const std::size_t at = b * F::kBlockBytes;
    auto ahead = stream.template pieces<FetchTo<F>::kTurns>(rows.base, at);
    __m256i s[C][8], m[C][8];
    Fields fields;
    if constexpr (kFieldsOf8) fields.template take<F>(rows, at);
    if constexpr (kAhead) {
#pragma GCC unroll 1
      for (std::size_t i = 0; i < 8; ++i) ahead_of_row[i].take(rows.row(i, at));
    }
#pragma GCC unroll 1
    for (std::size_t i = 0; i < 8; ++i) {
      const std::uint8_t* piece = ahead.take_number(i);
      if constexpr (FetchTo<F>::kEachOnce) {
        prefetch_each_once<F::kBlockBytes, FetchTo<F>::kGemv>(piece);
      } else {
        prefetch<F::kBlockBytes, FetchTo<F>::kGemv>(piece);
      }
      // Else GCC takes their loads out of this loop, all of them, and puts what was loaded on the stack.
      if constexpr (!kHoldsActivations<F, Meta, Dot, C>) asm volatile("" : "+r"(x.q));
      LaneSums<F, C> sums;
      const std::uint8_t* block = rows.row(i, at);
      std::conditional_t<kFieldsOf8, typename Fields::OfRow, SubScales> sub;
      if constexpr (kFieldsOf8) {
        sub = fields.of(i);
      } else {
        sub = sub_scales<F>(block);
        if constexpr (kMinsOf8<F, Meta>) fields.take(i, sub);
      }
      if constexpr (kAhead) {
        Dot::template indexed_sums<F, C>(block, ahead_of_row[i], sub, x, sums);
      } else {
        Dot::template super_block_sums<F, C>(block, sub, x, sums);
      }
      for (int c = 0; c < C; ++c) {
        s[c][i] = sums.s[c];
        if constexpr (F::kHasMin && !kMinsOf8<F, Meta>) m[c][i] = sums.m[c];
      }
    }
    const std::uint8_t* block = rows.base + at;
    asm("" : "+r"(block));  // or GCC keeps eight addresses that the weights had, in vector registers
    const auto block_of = [&](int i) { return rows.row(static_cast<std::size_t>(i), 0) - rows.base + block; };
    __m256 d = halves8(block_of, [](const std::uint8_t* p) { return F::d_bits(p); });
    if constexpr (F::kFactor != 1.0f) d = _mm256_mul_ps(d, _mm256_set1_ps(F::kFactor));
    __m256 dmin{};
    if constexpr (F::kHasMin) dmin = halves8(block_of, [](const std::uint8_t* p) { return F::dmin_bits(p); });
    for (int c = 0; c < C; ++c) {
      const __m256 da = _mm256_broadcast_ss(&x.meta[c].scale[0]);
      total[c] = _mm256_fmadd_ps(_mm256_mul_ps(d, da), _mm256_cvtepi32_ps(sums8(s[c])), total[c]);
      if constexpr (F::kHasMin) {
        __m256i sum;
        if constexpr (kMinsOf8<F, Meta>) {
          sum = fields.min_sums(x.meta[c]);
        } else {
          sum = sums8(m[c]);
        }
        total[c] = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, da), _mm256_cvtepi32_ps(sum), total[c]);
      }
    }
  }
  for (int c = 0; c < C; ++c) acc[c] = total[c];
}

/// Adds the bias and writes lanes [skip, skip + count) as rows row ... of the column.
[[gnu::always_inline]] inline void store_rows(const ProductArgs& args, std::size_t row, std::size_t skip,
                                              std::size_t count, std::size_t column, __m256 value) {
  float* out = args.out + column * args.out_stride + row;
  if (count == 8) {
    if (args.bias != nullptr) value = _mm256_add_ps(value, _mm256_loadu_ps(args.bias + row));
    _mm256_storeu_ps(out, value);
    return;
  }
  float lanes[8];
  _mm256_storeu_ps(lanes, value);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = args.bias != nullptr ? lanes[skip + i] + args.bias[row + i] : lanes[skip + i];
  }
}

/// From so many columns on Dot takes sixteen rows at a time, as far as they go: by_sixteen_rows returns the first row
/// it left.
template <class F, class Meta, class Dot>
inline constexpr std::size_t kSixteenRowsFrom = [] {
  if constexpr (requires(const ProductArgs& args) { Dot::template by_sixteen_rows<F, Meta>(args); }) {
    return Dot::template kSixteenRowsFrom<F>;
  } else {
    return SIZE_MAX;
  }
}();

/// Memory that gemv needs.
template <class F, class Meta, class Dot>
std::size_t gemv_scratch(std::size_t m, std::size_t in_features) {
  if constexpr (requires { Dot::template sixteen_rows_scratch<F, Meta>(m, in_features); }) {
    static_assert(!kReorders<F, Meta, Dot>);
    return Dot::template sixteen_rows_scratch<F, Meta>(m, in_features);
  }
  return kReorders<F, Meta, Dot> ? m * chunks_of(in_features) * ChunkX<Meta>::kColumnBytes : 0;
}

/// The activations of the call in the order Dot wants, in args.scratch.
template <class F, class Meta, class Dot>
Activations reorder(const ProductArgs& args) {
  constexpr std::size_t kBytes = ChunkX<Meta>::kColumnBytes;
  const auto* from = static_cast<const std::int8_t*>(args.x.values);
  auto* to = reinterpret_cast<std::int8_t*>(args.scratch);
  for (std::size_t left = args.x.m * chunks_of(args.in_features); left != 0; --left, from += kBytes, to += kBytes) {
    Dot::template reorder<F>(from, to);
  }
  return {args.scratch, args.x.meta, args.x.m};
}

/// All rows of the call, up to gemv_columns columns a pass; the rows stay in the caches between passes.
template <class F, class Meta, class Dot>
void gemv(const ProductArgs& call) noexcept {
  fetch_beginning<F>(call);
  ProductArgs args = call;
  if constexpr (kReorders<F, Meta, Dot>) args.x = reorder<F, Meta, Dot>(call);
  std::size_t row = args.row_begin;
  if constexpr (kSixteenRowsFrom<F, Meta, Dot> != SIZE_MAX) {
    if (args.x.m >= kSixteenRowsFrom<F, Meta, Dot>) row = Dot::template by_sixteen_rows<F, Meta>(args);
  }
  for (std::size_t step = 8; row < args.row_end; row += step) {
    const Rows8 rows(args.weights, args.row_bytes, row, args.row_end);
    step = rows.count;
    if (translations_of_gemv<F>(args)) fetch_translations(args, row, step);
    in_passes<gemv_columns<F, Meta, Dot>()>(args.x.m, [&]<int C>(std::size_t c0) {
      __m256 acc[C];
      for (int c = 0; c < C; ++c) acc[c] = _mm256_setzero_ps();
      if constexpr (F::kFamily == Family::super_block) {
        gemv_super<F, Meta, Dot, C>(args, rows, c0, acc);
      } else {
        gemv_small<F, Meta, Dot, C>(args, rows, c0, acc);
      }
      for (int c = 0; c < C; ++c)
        store_rows(args, row, rows.skip, rows.count, c0 + static_cast<std::size_t>(c), acc[c]);
    });
  }
}

}  // namespace
}  // namespace quantlinear::cpu
