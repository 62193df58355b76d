// How exact each precision is for every weight type, against f64 sums over exactly decoded weights; and
// that a8 loses no more than ggml's own int8 products where activations have outliers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

constexpr std::size_t kColumns = 4096;

/// sum a[k] * b[k] in f64: eight sums side by side.
double dot(const float* a, const float* b) {
  double sums[8] = {};
  for (std::size_t k = 0; k < kColumns; k += 8) {
    for (std::size_t l = 0; l < 8; ++l) sums[l] += static_cast<double>(a[k + l]) * static_cast<double>(b[k + l]);
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// y [m, rows] in f64, of x [m, kColumns] and w [rows, kColumns].
std::vector<double> products(std::span<const float> x, std::span<const float> w) {
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size(); i += kColumns) {
    for (std::size_t r = 0; r < w.size(); r += kColumns) y.push_back(dot(x.data() + i, w.data() + r));
  }
  return y;
}

template <class T>
double nmse(std::span<const T> found, std::span<const double> exact) {
  double error = 0, power = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double e = static_cast<double>(found[i]) - exact[i];
    error += e * e;
    power += exact[i] * exact[i];
  }
  return found.size() == exact.size() ? error / power : std::nan("");
}

std::string text(double value) {
  std::ostringstream stream;
  stream << value;
  return stream.str();
}

/// A random matrix of one type: its blocks and their exact values.
struct Matrix {
  Matrix(GgufQuantType kind, std::size_t row_count)
      : type(kind), rows(row_count), blocks(test::random_weights(kind, rows, kColumns, 31)), values(rows * kColumns) {
    EXPECT_TRUE(dequantize(kind, blocks, values));
  }
  GgufQuantType type;
  std::size_t rows;
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

std::vector<float> forward(const Matrix& w, Precision precision, std::span<const float> x) {
  const auto layer = QuantLinear<CpuBackend>::from_gguf_bytes(CpuBackend(), w.type, QuantBytes::borrow(w.blocks),
                                                              w.rows, kColumns, {precision})
                         .value();
  const std::size_t m = x.size() / kColumns;
  const Precision runs = layer.explain(m).parts.at(0).runs;
  EXPECT_EQ(runs, quant_type_info(w.type)->block_elements == 1 ? Precision::f32 : precision)
      << "float types always run f32";
  auto ctx = layer.backend().new_context().value();
  std::vector<float> y(m * w.rows);
  EXPECT_TRUE(layer.forward(ctx, x, y, m));
  return y;
}

/// What ggml turns one block of activations into before an int8 product, as the f32 values it stands for.
/// Q8_K, 256 values: the scale is the largest value, with its sign, / -127, in f32.
void as_q8_k(std::span<float> x) {
  const float most = *std::ranges::max_element(x, {}, [](float v) { return std::abs(v); });
  const float inverse = -127.0f / most;
  const float d = 1.0f / inverse;
  for (float& v : x) v = d * std::min(127.0f, std::nearbyint(inverse * v));
}
/// A float in the normal range of IEEE half, rounded to it.
float as_half(float v) {
  int exponent = 0;
  const float fraction = std::frexp(v, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 11)), exponent - 11);
}
/// Q8_0, 32 values: the scale is the largest magnitude / 127, kept as an IEEE half.
void as_q8_0(std::span<float> x) {
  const float d = std::abs(*std::ranges::max_element(x, {}, [](float v) { return std::abs(v); })) / 127.0f;
  const float inverse = 1.0f / d;
  for (float& v : x) v = as_half(d) * std::round(v * inverse);
}

class EveryType : public testing::TestWithParam<QuantTypeInfo> {};
class EveryBlockType : public EveryType {};

TEST_P(EveryType, KeepsItsLimitOnGaussianActivations) {
  const Matrix w(GetParam().type, 64);
  const std::vector<float> x = test::random_activations(4 * kColumns, 41);
  const std::vector<double> exact = products(x, w.values);
  const std::pair<Precision, double> limits[] = {
      {Precision::f32, 1e-11}, {Precision::a16, 1e-6}, {Precision::a8, 1e-4}};
  for (const auto& [precision, limit] : limits) {
    const std::vector<float> y = forward(w, precision, x);
    const double found = nmse(std::span<const float>(y), exact);
    EXPECT_LE(found, GetParam().block_elements == 1 ? 1e-11 : limit) << to_string(precision);
    EXPECT_GT(found, 0.0) << "no rounding at all: compared with itself?";
    RecordProperty(std::string(to_string(precision)), text(found));
  }
}

TEST_P(EveryBlockType, LosesNoMoreThanGgmlOnOutliers) {
  const Matrix w(GetParam().type, 256);
  std::vector<float> x = test::random_activations(32 * kColumns, 43);
  for (std::size_t i = 0; i < 32; ++i) x[i * kColumns + i * 1237 % kColumns] = i % 2 == 0 ? 30.0f : -30.0f;
  const std::vector<double> exact = products(x, w.values);

  std::vector<float> rounded = x;
  const std::size_t block = GetParam().block_elements == 256 ? 256 : 32;
  for (std::size_t at = 0; at < x.size(); at += block) {
    (block == 256 ? as_q8_k : as_q8_0)(std::span(rounded).subspan(at, block));
  }
  const std::vector<double> by_ggml = products(rounded, w.values);
  const double ggml = nmse(std::span<const double>(by_ggml), exact);
  const double ours = nmse(std::span<const float>(forward(w, Precision::a8, x)), exact);
  RecordProperty("a8", text(ours));
  RecordProperty("ggml", text(ggml));
  EXPECT_GT(ggml, 1e-6) << "the emulation rounds nothing";
  EXPECT_LE(ours, 1.02 * ggml) << "ours " << ours << ", ggml " << ggml;
}

/// Types whose blocks hold at least `elements` weights: the float types have blocks of one and no int8 product.
std::vector<QuantTypeInfo> types_of(std::uint32_t elements) {
  std::vector<QuantTypeInfo> types(quant_types().begin(), quant_types().end());
  std::erase_if(types, [&](const QuantTypeInfo& type) { return type.block_elements < elements; });
  return types;
}
std::string type_name(const testing::TestParamInfo<QuantTypeInfo>& type) { return std::string(type.param.name); }
INSTANTIATE_TEST_SUITE_P(Precision, EveryType, testing::ValuesIn(types_of(1)), type_name);
INSTANTIATE_TEST_SUITE_P(Precision, EveryBlockType, testing::ValuesIn(types_of(2)), type_name);

TEST(Emulation, RoundsAsIeeeHalfAndInt8) {
  EXPECT_EQ(as_half(1.0f), 1.0f);
  EXPECT_EQ(as_half(1.0f + 0x1p-11f), 1.0f) << "ties to even";
  EXPECT_EQ(as_half(1.0f + 0x1.8p-11f), 1.0f + 0x1p-10f);
  EXPECT_EQ(as_half(0x1.554p-3f), 0x1.554p-3f) << "ten bits after the point are kept";
  EXPECT_EQ(as_half(0x1.5549p-3f), 0x1.554p-3f);
  std::vector<float> x(32, 1.0f);
  x[3] = -2.0f;
  as_q8_0(x);  // the scale 2 / 127 becomes the half 0x1.02p-6, and 1 becomes 64 of them
  EXPECT_EQ(x[3], -127 * 0x1.02p-6f);
  EXPECT_EQ(x[0], 64 * 0x1.02p-6f);
}

}  // namespace
}  // namespace quantlinear
