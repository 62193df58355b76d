// Sixteen rows side by side, one 32-bit lane each: what the dot-product tiles are written in.
// One register with AVX-512, two with AVX-VNNI.
#pragma once

#include "cpu/kernels/x86/panel.hpp"

namespace quantlinear::cpu {
namespace {

#if defined(__AVX512VNNI__)
struct ZmmRows {
  using Int = __m512i;
  using Broadcast = __m512i;
  /// Columns of a tile: 12 sub-block accumulators, 12 totals, the weights and a scale are 26 of 32
  /// registers.
  static constexpr int kColumns = 12;

  static Int zero() { return _mm512_setzero_si512(); }
  static Int load(const void* p) { return _mm512_loadu_si512(p); }
  static Int fill(std::int32_t value) { return _mm512_set1_epi32(value); }
  static Broadcast broadcast(const void* p) {
    std::int32_t value;
    std::memcpy(&value, p, 4);
    return _mm512_set1_epi32(value);
  }
  /// acc + sums of 4 unsigned x signed bytes; acc + sums of 2 products of signed words.
  static Int dot_bytes(Int acc, Int u, Broadcast a) { return _mm512_dpbusd_epi32(acc, u, a); }
  static Int dot_words(Int acc, Int w, Broadcast a) { return _mm512_dpwssd_epi32(acc, w, a); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  static Int multiply(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  static Int high_words(Int a) { return _mm512_srai_epi32(a, 16); }
  /// tile[row] = fma(+-(scale[row] * factor), float(sum[row]), tile[row]): the canonical step.
  static void step(float* tile, const float* scale, float factor, Int sum) {
    const __m512 s = _mm512_mul_ps(_mm512_load_ps(scale), _mm512_set1_ps(factor));
    _mm512_storeu_ps(tile, _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), _mm512_loadu_ps(tile)));
  }
  static void step_minus(float* tile, const float* scale, float factor, Int sum) {
    const __m512 s = _mm512_mul_ps(_mm512_load_ps(scale), _mm512_set1_ps(factor));
    _mm512_storeu_ps(tile, _mm512_fnmadd_ps(s, _mm512_cvtepi32_ps(sum), _mm512_loadu_ps(tile)));
  }
};
#endif

#if defined(__AVXVNNI__)
struct YmmRows {
  struct Int {
    __m256i a, b;
  };
  using Broadcast = __m256i;
  static constexpr int kColumns = 4;

  static Int zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Int load(const void* p) { return {load256(p), load256(static_cast<const char*>(p) + 32)}; }
  static Int fill(std::int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
  static Broadcast broadcast(const void* p) { return broadcast32(p); }
  static Int dot_bytes(Int acc, Int u, Broadcast x) {
    return {_mm256_dpbusd_avx_epi32(acc.a, u.a, x), _mm256_dpbusd_avx_epi32(acc.b, u.b, x)};
  }
  static Int dot_words(Int acc, Int w, Broadcast x) {
    return {_mm256_dpwssd_avx_epi32(acc.a, w.a, x), _mm256_dpwssd_avx_epi32(acc.b, w.b, x)};
  }
  static Int add(Int x, Int y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
  static Int sub(Int x, Int y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
  static Int multiply(Int x, Int y) { return {_mm256_mullo_epi32(x.a, y.a), _mm256_mullo_epi32(x.b, y.b)}; }
  static Int high_words(Int x) { return {_mm256_srai_epi32(x.a, 16), _mm256_srai_epi32(x.b, 16)}; }
  static void step(float* tile, const float* scale, float factor, Int sum) {
    const __m256 f = _mm256_set1_ps(factor);
    const auto half = [&](int at, __m256i s) {
      const __m256 d = _mm256_mul_ps(_mm256_load_ps(scale + at), f);
      _mm256_storeu_ps(tile + at, _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(s), _mm256_loadu_ps(tile + at)));
    };
    half(0, sum.a);
    half(8, sum.b);
  }
  static void step_minus(float* tile, const float* scale, float factor, Int sum) { step(tile, scale, -factor, sum); }
};
#endif

}  // namespace
}  // namespace quantlinear::cpu
