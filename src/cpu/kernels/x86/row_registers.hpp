// Rows side by side, one 32-bit lane each, in two registers: what the dot-product tiles are written in.
// 32 rows with AVX-512, 16 with AVX-VNNI.
#pragma once

#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

#if defined(__AVX512VNNI__)
struct Zmm {
  using Int = __m512i;
  static constexpr int kLanes = 16;

  static Int zero() { return _mm512_setzero_si512(); }
  static Int load(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static Int fill(std::int32_t value) { return _mm512_set1_epi32(value); }
  static Int dot_bytes(Int acc, Int u, Int a) { return _mm512_dpbusd_epi32(acc, u, a); }
  static Int dot_words(Int acc, Int w, Int a) { return _mm512_dpwssd_epi32(acc, w, a); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int multiply(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  static Int high_words(Int a) { return _mm512_srai_epi32(a, 16); }
  static void step(float* tile, const float* scale, float factor, Int sum) {
    const __m512 s = _mm512_mul_ps(_mm512_load_ps(scale), _mm512_set1_ps(factor));
    _mm512_storeu_ps(tile, _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), _mm512_loadu_ps(tile)));
  }
};
#endif

#if defined(__AVXVNNI__)
struct Ymm {
  using Int = __m256i;
  static constexpr int kLanes = 8;

  static Int zero() { return _mm256_setzero_si256(); }
  static Int load(const std::int32_t* p) { return load256(p); }
  static Int fill(std::int32_t value) { return _mm256_set1_epi32(value); }
  static Int dot_bytes(Int acc, Int u, Int a) { return _mm256_dpbusd_avx_epi32(acc, u, a); }
  static Int dot_words(Int acc, Int w, Int a) { return _mm256_dpwssd_avx_epi32(acc, w, a); }
  static Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int multiply(Int a, Int b) { return _mm256_mullo_epi32(a, b); }
  static Int high_words(Int a) { return _mm256_srai_epi32(a, 16); }
  static void step(float* tile, const float* scale, float factor, Int sum) {
    const __m256 s = _mm256_mul_ps(_mm256_load_ps(scale), _mm256_set1_ps(factor));
    _mm256_storeu_ps(tile, _mm256_fmadd_ps(s, _mm256_cvtepi32_ps(sum), _mm256_loadu_ps(tile)));
  }
};
#endif

/// Two registers of One; L: the same rows in one register. Columns: of a tile with one accumulator (a pair of
/// registers) per column; ColumnsTwice: with two of them.
template <class One, class L, int Columns, int ColumnsTwice>
struct RowRegisters {
  using Lanes = L;
  static constexpr int kRows = 2 * One::kLanes;
  static constexpr int kColumns = Columns, kColumnsTwice = ColumnsTwice;
  using Broadcast = typename One::Int;
  struct Int {
    typename One::Int a, b;
  };

  static Int zero() { return {One::zero(), One::zero()}; }
  static Int load(const void* p) {
    const auto* lanes = static_cast<const std::int32_t*>(p);
    return {One::load(lanes), One::load(lanes + One::kLanes)};
  }
  static Int fill(std::int32_t value) { return {One::fill(value), One::fill(value)}; }
  static Broadcast broadcast(const void* p) {
    std::int32_t value;
    std::memcpy(&value, p, 4);
    return One::fill(value);
  }
  /// acc + sums of 4 unsigned x signed bytes; acc + sums of 2 products of signed words.
  static Int dot_bytes(Int acc, Int u, Broadcast x) {
    return {One::dot_bytes(acc.a, u.a, x), One::dot_bytes(acc.b, u.b, x)};
  }
  static Int dot_words(Int acc, Int w, Broadcast x) {
    return {One::dot_words(acc.a, w.a, x), One::dot_words(acc.b, w.b, x)};
  }
  /// Ties the accumulator to its registers: GCC 12 stores large arrays of them in every step otherwise.
  [[gnu::always_inline]] static void keep(Int& x) { asm("" : "+v"(x.a), "+v"(x.b)); }
  static Int add(Int x, Int y) { return {One::add(x.a, y.a), One::add(x.b, y.b)}; }
  static Int multiply(Int x, Int y) { return {One::multiply(x.a, y.a), One::multiply(x.b, y.b)}; }
  static Int high_words(Int x) { return {One::high_words(x.a), One::high_words(x.b)}; }
  /// tile[row] = fma(+-(scale[row] * factor), float(sum[row]), tile[row]): the canonical step.
  static void step(float* tile, const float* scale, float factor, Int sum) {
    One::step(tile, scale, factor, sum.a);
    One::step(tile + One::kLanes, scale + One::kLanes, factor, sum.b);
  }
  static void step_minus(float* tile, const float* scale, float factor, Int sum) { step(tile, scale, -factor, sum); }
};

#if defined(__AVX512VNNI__)
/// 24 accumulators, the weights and an activation are 27 of 32 registers.
using ZmmRows = RowRegisters<Zmm, Avx512Lanes, 12, 6>;
#endif
#if defined(__AVXVNNI__)
using YmmRows = RowRegisters<Ymm, AvxVnniLanes, 4, 4>;
#endif

}  // namespace
}  // namespace quantlinear::cpu
