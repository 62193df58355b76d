// Plain C++: every machine, and the definition that all other instruction sets must equal bit for bit.
#pragma once

#include "cpu/isa/scalar_vocabulary.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/kernels/prepare.hpp"
#include "cpu/kernels/specs.hpp"

namespace quantlinear::cpu {
namespace {

using formats::Family;

/// a * b + c, rounded once. Machines without the instruction get it exactly as well: the product of
/// two floats is exact in f64, and a sum rounded to odd there rounds correctly to f32.
inline float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  const double product = static_cast<double>(a) * b;
  const double addend = c;
  double sum = product + addend;
  const double back = sum - product;
  const double error = (product - (sum - back)) + (addend - back);
  if (error != 0.0 && error == error) {
    std::uint64_t bits;
    std::memcpy(&bits, &sum, 8);
    if ((bits & 1) == 0) bits += (error > 0) == (sum > 0) ? 1 : static_cast<std::uint64_t>(-1);
    std::memcpy(&sum, &bits, 8);
  }
  return static_cast<float>(sum);
#endif
}

/// Runs f.template operator()<0> ... <N-1>.
template <int N, int I = 0, class Function>
inline void each(const Function& f) {
  if constexpr (I < N) {
    f.template operator()<I>();
    each<N, I + 1>(f);
  }
}

/// One chunk of one weight row as integers in the order of the activations, with its f32 factors.
struct ScalarChunk {
  std::int16_t w[256];    ///< super_block: q * s_j; small_block: q
  std::int32_t mins[16];  ///< super_block with mins: m_j per 16
  float scale[16];        ///< super_block: d in [0]; small_block: per kScaleStep
  float min[16];          ///< super_block: dmin in [0]; small_block: m per 32
};

template <class F, Precision Layout>
void unpack_chunk(const std::uint8_t* block, std::size_t count, ScalarChunk& chunk) {
  constexpr int kGroups = F::kBlockElements / 32;
  for (int g = 0; 32 * static_cast<std::size_t>(g) < count; g += kGroups, block += F::kBlockBytes) {
    std::int8_t s[16] = {};
    if constexpr (F::kFamily == Family::super_block) {
      const auto scales = F::template scales<ScalarVocabulary>(block);
      std::memcpy(s, scales.byte, 16);
      chunk.scale[0] = formats::half_to_float(F::d_bits(block)) * F::kFactor;
      if constexpr (F::kHasMin) {
        const auto mins = F::template mins<ScalarVocabulary>(block);
        for (int j = 0; j < 16; ++j) chunk.mins[j] = mins.byte[F::kScaleStep == 32 ? j / 2 : j];
        chunk.min[0] = formats::half_to_float(F::dmin_bits(block));
      }
    } else {
      for (int j = 0; j < F::kBlockElements / F::kScaleStep; ++j) {
        const int at = g * (32 / F::kScaleStep) + j;
        if constexpr (requires { F::scale(block, j); }) {
          chunk.scale[at] = F::scale(block, j);
        } else {
          chunk.scale[at] = formats::half_to_float(F::d_bits(block));
        }
        if constexpr (F::kHasMin) chunk.min[at] = formats::half_to_float(F::m_bits(block));
      }
    }
    each<kGroups>([&]<int J>() {
      const auto u = F::template group<ScalarVocabulary, J>(block);
      for (int i = 0; i < 32; ++i) {
        const int scale = F::kFamily == Family::super_block ? s[(32 * J + i) / F::kScaleStep] : 1;
        const auto at = static_cast<std::size_t>(i);
        const std::size_t position = Layout == Precision::a16 ? a16_position(at) : at;
        chunk.w[32 * static_cast<std::size_t>(g + J) + position] =
            static_cast<std::int16_t>((u.byte[i] - F::kOffset) * scale);
      }
    });
  }
}

template <class Value>
inline std::int32_t dot(const std::int16_t* w, const Value* a, int count) {
  std::int32_t sum = 0;
  for (int i = 0; i < count; ++i) sum += static_cast<std::int32_t>(w[i]) * a[i];
  return sum;
}

/// The canonical chain: acc after one chunk (docs/numerics.md).
template <class F, class Value, class Meta>
inline float chunk_step(const ScalarChunk& chunk, std::size_t count, const Value* a, const Meta& meta, float acc) {
  if constexpr (F::kFamily == Family::super_block) {
    acc = fused(chunk.scale[0] * meta.scale[0], static_cast<float>(dot(chunk.w, a, 256)), acc);
    if constexpr (F::kHasMin) {
      std::int32_t sum = 0;
      for (int j = 0; j < 16; ++j) sum += chunk.mins[j] * meta.sums16[j];
      acc = fused(-(chunk.min[0] * meta.scale[0]), static_cast<float>(sum), acc);
    }
  } else {
    for (std::size_t g = 0; 32 * g < count; ++g) {
      const std::int16_t* w = chunk.w + 32 * g;
      const Value* x = a + 32 * g;
      if constexpr (F::kScaleStep == 32) {
        acc = fused(chunk.scale[g] * meta.scale[g], static_cast<float>(dot(w, x, 32)), acc);
        if constexpr (F::kHasMin) acc = fused(chunk.min[g] * meta.scale[g], static_cast<float>(meta.sums32[g]), acc);
      } else if constexpr (sizeof(Value) == 1) {
        acc = fused(chunk.scale[2 * g] * meta.scale[g], static_cast<float>(dot(w, x, 16)), acc);
        acc = fused(chunk.scale[2 * g + 1] * meta.scale[g], static_cast<float>(dot(w + 16, x + 16, 16)), acc);
      } else {  // a16 order: weights 0..15 stand at 0..7 and 16..23
        acc = fused(chunk.scale[2 * g] * meta.scale[g], static_cast<float>(dot(w, x, 8) + dot(w + 16, x + 16, 8)), acc);
        acc = fused(chunk.scale[2 * g + 1] * meta.scale[g],
                    static_cast<float>(dot(w + 8, x + 8, 8) + dot(w + 24, x + 24, 8)), acc);
      }
    }
  }
  return acc;
}

inline void store_column(const ProductArgs& args, std::size_t row, const float* acc) {
  for (std::size_t c = 0; c < args.x.m; ++c) {
    args.out[c * args.out_stride + row] = args.bias != nullptr ? acc[c] + args.bias[row] : acc[c];
  }
}

template <class F, class Value, class Meta>
void product_integer_scalar(const ProductArgs& args) noexcept {
  constexpr Precision kLayout = sizeof(Value) == 1 ? Precision::a8 : Precision::a16;
  auto* acc = reinterpret_cast<float*>(args.scratch);
  const std::size_t m = args.x.m;
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    const std::uint8_t* blocks = args.weights + row * args.row_bytes;
    for (std::size_t c = 0; c < m; ++c) acc[c] = 0.0f;
    for (std::size_t k = 0; k < args.in_features; k += kChunk) {
      const std::size_t count = args.in_features - k < kChunk ? args.in_features - k : kChunk;
      ScalarChunk chunk;
      unpack_chunk<F, kLayout>(blocks + k / F::kBlockElements * F::kBlockBytes, count, chunk);
      const std::size_t first = k / kChunk * m;
      for (std::size_t c = 0; c < m; ++c) {
        acc[c] = chunk_step<F>(chunk, count, static_cast<const Value*>(args.x.values) + (first + c) * kChunk,
                               static_cast<const Meta*>(args.x.meta)[first + c], acc[c]);
      }
    }
    store_column(args, row, acc);
  }
}

template <class F>
void product_f32_scalar(const ProductArgs& args) noexcept {
  auto* acc = reinterpret_cast<float*>(args.scratch);
  const std::size_t m = args.x.m;
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    const std::uint8_t* blocks = args.weights + row * args.row_bytes;
    for (std::size_t c = 0; c < m; ++c) acc[c] = 0.0f;
    for (std::size_t k = 0; k < args.in_features; k += kChunk) {
      const std::size_t count = args.in_features - k < kChunk ? args.in_features - k : kChunk;
      float w[kChunk] = {};
      const std::uint8_t* block = blocks + k / F::kBlockElements * F::kBlockBytes;
      for (std::size_t i = 0; i < count; i += F::kBlockElements, block += F::kBlockBytes) F::dequantize(block, w + i);
      for (std::size_t c = 0; c < m; ++c) {
        const float* x = static_cast<const float*>(args.x.values) + (k / kChunk * m + c) * kChunk;
        float lane[8] = {};
        for (std::size_t i = 0; i < count; i += 8) {
          for (std::size_t l = 0; l < 8; ++l) lane[l] = fused(w[i + l], x[i + l], lane[l]);
        }
        acc[c] += ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
      }
    }
    store_column(args, row, acc);
  }
}

struct Isa {
  static constexpr PrepareRow prepare_row = prepare_row_scalar;

  template <class F>
  static constexpr auto dequantize = [](const std::uint8_t* block, std::size_t blocks, float* out) noexcept {
    for (std::size_t i = 0; i < blocks; ++i) F::dequantize(block + i * F::kBlockBytes, out + i * F::kBlockElements);
  };

  template <class F, Precision P>
  static constexpr ProductKernel product() {
    const auto scratch = [](std::size_t m, std::size_t) { return m * sizeof(float); };
    const auto describe = [](std::size_t) -> KernelDescription {
      return {"rows", "one row at a time, each block unpacked once for all columns", 1, 1};
    };
    const auto spec = [](std::size_t) { return activation_spec<F, P>(); };
    constexpr Precision runs = activation_spec<F, P>().precision;
    if constexpr (runs == Precision::f32) {
      return {spec, product_f32_scalar<F>, scratch, describe};
    } else if constexpr (runs == Precision::a8) {
      return {spec, product_integer_scalar<F, std::int8_t, A8Meta>, scratch, describe};
    } else {
      return {spec, product_integer_scalar<F, std::int16_t, A16Meta>, scratch, describe};
    }
  }
};

}  // namespace
}  // namespace quantlinear::cpu
