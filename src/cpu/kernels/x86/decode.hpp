// Exact f32 weights, eight lanes at a time: the f32 kernels and get_rows are made of this.
#pragma once

#include "cpu/kernels/x86/ymm.hpp"

namespace quantlinear::cpu {
namespace {

/// 32 consecutive weights.
struct Floats32 {
  __m256 v[4];
};

/// What 32 bytes of u become: scale * (u - offset) - min. The product is exact and the subtraction
/// rounds once (formats/format.hpp), so these are the bits of the format's own definition.
template <class F, class ScaleOf, class MinOf>
[[gnu::always_inline]] inline Floats32 floats_of(__m256i u, ScaleOf scale_of, MinOf min_of) {
  const __m128i half[2] = {_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1)};
  Floats32 r;
  unroll<4>([&]<int I>() {
    const __m128i bytes = I % 2 == 0 ? half[I / 2] : _mm_unpackhi_epi64(half[I / 2], half[I / 2]);
    __m256i q = _mm256_cvtepu8_epi32(bytes);
    if constexpr (F::kOffset != 0) q = _mm256_sub_epi32(q, _mm256_set1_epi32(F::kOffset));
    if constexpr (F::kHasMin) {
      r.v[I] = _mm256_fmsub_ps(scale_of(I / 2), _mm256_cvtepi32_ps(q), min_of(I / 2));
    } else {
      r.v[I] = _mm256_mul_ps(scale_of(I / 2), _mm256_cvtepi32_ps(q));
    }
  });
  return r;
}

/// Scales (and negated offsets) of one block as f32, and its weights 32 at a time.
template <class F>
struct BlockDecoder {
  static constexpr int kGroups = F::kBlockElements / 32;
  const std::uint8_t* block;
  alignas(32) float scale[16];
  alignas(32) float min[16];

  explicit BlockDecoder(const std::uint8_t* b) : block(b) {
    if constexpr (F::kFamily == Family::super_block) {
      const __m256 d = _mm256_set1_ps(half(F::d_bits(b)) * F::kFactor);
      spread(F::template scales<V>(b), d, scale);
      if constexpr (F::kHasMin) spread(F::template mins<V>(b), _mm256_set1_ps(half(F::dmin_bits(b))), min);
    } else if constexpr (requires { F::scale(b, 0); }) {
      for (int j = 0; j < F::kBlockElements / F::kScaleStep; ++j) scale[j] = F::scale(b, j);
    } else {
      scale[0] = half(F::d_bits(b));
      if constexpr (F::kHasMin) min[0] = -half(F::m_bits(b));
    }
  }

  /// Weights 32J .. 32J+31.
  template <int J>
  [[nodiscard]] Floats32 group() const {
    constexpr bool kOneScale = F::kFamily == Family::small_block && !requires { F::scale(block, 0); };
    const auto pick = [](const float* values, int part) {
      const int j = kOneScale ? 0 : F::kScaleStep == 32 ? J : 2 * J + part;
      return _mm256_broadcast_ss(values + j);
    };
    return floats_of<F>(
        F::template group<V, J>(block), [&](int part) { return pick(scale, part); },
        [&](int part) { return pick(min, part); });
  }

 private:
  static float half(std::uint16_t bits) { return _cvtsh_ss(bits); }
  static void spread(__m128i bytes, __m256 factor, float* out) {
    _mm256_store_ps(out, _mm256_mul_ps(factor, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))));
    if constexpr (F::kScaleStep == 16) {
      const __m128i high = _mm_unpackhi_epi64(bytes, bytes);
      _mm256_store_ps(out + 8, _mm256_mul_ps(factor, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))));
    }
  }
};

/// Float formats: 8 weights straight from memory.
template <class F>
[[gnu::always_inline]] inline __m256 load_floats8(const std::uint8_t* p) {
  if constexpr (F::kType == GgufQuantType::F32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  } else if constexpr (F::kType == GgufQuantType::F16) {
    return _mm256_cvtph_ps(load128(p));
  } else {
    static_assert(F::kType == GgufQuantType::BF16);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
  }
}
template <class F>
[[gnu::always_inline]] inline Floats32 load_floats32(const std::uint8_t* p) {
  Floats32 r;
  for (int i = 0; i < 4; ++i) r.v[i] = load_floats8<F>(p + 8 * i * F::kBlockBytes);
  return r;
}

[[gnu::always_inline]] inline void store32(float* out, const Floats32& w) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + 8 * i, w.v[i]);
}

/// Calls use.operator()<J>(group, Floats32) for the groups of 32 weights of a run of `count` weights (at
/// most 256) that starts at block `p`; float formats may end in a part of a group, filled with +0.
template <class F, class Use>
[[gnu::always_inline]] inline void for_each_group(const std::uint8_t* p, std::size_t count, Use use) {
  if constexpr (F::kFamily == Family::float_weight) {
    std::size_t g = 0;
    for (; 32 * (g + 1) <= count; ++g) use(g, load_floats32<F>(p + 32 * g * F::kBlockBytes));
    if (const std::size_t left = count - 32 * g; left != 0) {
      std::uint8_t padded[32 * F::kBlockBytes] = {};
      std::memcpy(padded, p + 32 * g * F::kBlockBytes, left * F::kBlockBytes);
      use(g, load_floats32<F>(padded));
    }
  } else {
    for (std::size_t g = 0; 32 * g < count; p += F::kBlockBytes) {
      const BlockDecoder<F> block(p);
      unroll<BlockDecoder<F>::kGroups>([&]<int J>() { use(g + J, block.template group<J>()); });
      g += BlockDecoder<F>::kGroups;
    }
  }
}

/// FormatKernels::dequantize.
template <class F>
void dequantize_blocks(const std::uint8_t* block, std::size_t blocks, float* out) noexcept {
  constexpr std::size_t kStep = F::kFamily == Family::float_weight ? kChunk : F::kBlockElements;
  for (std::size_t count = blocks * F::kBlockElements; count != 0;) {
    const std::size_t now = count < kStep ? count : kStep;
    if (now % 32 == 0) {
      for_each_group<F>(block, now, [&](std::size_t g, const Floats32& w) { store32(out + 32 * g, w); });
    } else {
      float padded[kChunk];
      for_each_group<F>(block, now, [&](std::size_t g, const Floats32& w) { store32(padded + 32 * g, w); });
      std::memcpy(out, padded, now * sizeof(float));
    }
    block += now / F::kBlockElements * F::kBlockBytes;
    out += now;
    count -= now;
  }
}

}  // namespace
}  // namespace quantlinear::cpu
