// The library against an independent reading of the formats in double precision (tests/reference),
// and that reading against ggml's own data.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/reference_backend.hpp"
#include "reference/reference.hpp"
#include "support/golden.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

/// Equal bits, or both NaN.
bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

/// The same, or one is the neighbour of the other.
bool within_one_ulp(float a, float b) { return same(a, b) || a == b || std::nextafter(a, b) == b; }

class Reference : public testing::TestWithParam<QuantTypeInfo> {
 protected:
  [[nodiscard]] static GgufQuantType type() { return GetParam().type; }
  [[nodiscard]] static std::vector<double> decode(std::span<const std::byte> blocks) {
    return reference::decode(static_cast<std::uint32_t>(type()), blocks);
  }
};

TEST_P(Reference, ReadsTheGoldenDataAsGgmlDoes) {
  const test::GoldenFile golden = test::load_golden(GetParam());
  const test::GoldenTensor& x = golden["x"];
  for (const std::string set : {"w", "bits"}) {
    const test::GoldenTensor& weight = golden[set + ".weight"];
    std::vector<double> w = decode(weight.bytes);
    const std::vector<float> expected = golden[set + ".dequantized"].floats();
    ASSERT_EQ(w.size(), expected.size());
    for (std::size_t i = 0; i < w.size(); ++i)
      ASSERT_TRUE(same(static_cast<float>(w[i]), expected[i]))
          << set << "[" << i << "]: " << w[i] << ", " << expected[i];

    // ggml's weights are f32, and y is defined by them: types with a minimum need the rounding.
    for (double& v : w) v = static_cast<double>(static_cast<float>(v));
    const std::vector<double> y = reference::matmul(w, weight.shape[1], weight.shape[0], x.floats(), x.shape[1]);
    const std::vector<float> expected_y = golden[set + ".y"].floats();
    ASSERT_EQ(y.size(), expected_y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_TRUE(within_one_ulp(static_cast<float>(y[i]), expected_y[i]))
          << set << ".y[" << i << "]: " << y[i] << ", " << expected_y[i];
    }
  }
}

TEST_P(Reference, AgreesWithDequantizeOnRandomBytes) {
  constexpr std::size_t kBlocks = 202;
  const std::size_t bytes = GetParam().block_bytes;
  std::vector<std::byte> blocks(kBlocks * bytes);
  std::mt19937 random(20240917);
  for (std::byte& b : blocks) b = static_cast<std::byte>(random());
  for (std::size_t i = 0; i < bytes; ++i) {
    blocks[i] = std::byte{0x00};
    blocks[bytes + i] = std::byte{0xff};
  }
  const std::vector<double> expected = decode(blocks);
  ASSERT_EQ(expected.size(), kBlocks * GetParam().block_elements);
  std::vector<float> found(expected.size());
  ASSERT_TRUE(dequantize(type(), blocks, found));
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(same(found[i], static_cast<float>(expected[i])))
        << "block " << i / GetParam().block_elements << ", weight " << i % GetParam().block_elements << ": " << found[i]
        << " is not " << expected[i];
  }
}

constexpr std::uint64_t kRows = 33, kColumns = 1024, kM = 5;

/// Error of a backend's product over the power of the exact one.
template <class B>
double nmse(const B& backend, const QuantPart& part, std::span<const float> x, std::span<const double> exact,
            const LoadOptions& options) {
  const auto store = backend.load_quant(part, kColumns, options);
  auto ctx = backend.new_context();
  std::vector<float> y(exact.size(), std::numeric_limits<float>::quiet_NaN());
  if (!store || !ctx || !backend.gemm_quant(*ctx, x, *store, y, kM)) return std::numeric_limits<double>::infinity();
  double error = 0, power = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double difference = static_cast<double>(y[i]) - exact[i];
    error += difference * difference;
    power += exact[i] * exact[i];
  }
  return error / power;
}

TEST_P(Reference, BoundsTheErrorOfTheBackends) {
  const std::vector<std::byte> bytes = test::random_weights(type(), kRows, kColumns, 11);
  const std::vector<float> x = test::random_activations(kM * kColumns, 12);
  const std::vector<double> exact = reference::matmul(decode(bytes), kRows, kColumns, x, kM);
  const QuantPart part{type(), QuantBytes::own(bytes), kRows};
  EXPECT_LE(nmse(ReferenceBackend(), part, x, exact, {}), 1e-13);
  const CpuBackend cpu;
  EXPECT_LE(nmse(cpu, part, x, exact, {.precision = Precision::f32}), 1e-11);
  EXPECT_LE(nmse(cpu, part, x, exact, {.precision = Precision::a16}), 1e-6);
  EXPECT_LE(nmse(cpu, part, x, exact, {.precision = Precision::a8}), 1e-4);
}

std::string type_name(const testing::TestParamInfo<QuantTypeInfo>& info) { return std::string(info.param.name); }
INSTANTIATE_TEST_SUITE_P(Formats, Reference, testing::ValuesIn(quant_types().begin(), quant_types().end()), type_name);

}  // namespace
}  // namespace quantlinear
