// verify(): passes what is right and finds what is wrong, be it a kernel, a
// weight block or a claim of precision. The wrong kernels are the reference
// ones with their results changed.
#include "quantlinear/verify.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "quantlinear/any_backend.hpp"
#include "quantlinear/linear.hpp"
#include "quantlinear/reference_backend.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
constexpr std::uint64_t kColumns = 512;
constexpr std::uint64_t kRows = 8;

QuantPart part(Kind kind, std::uint64_t rows = kRows, std::vector<float> bias = {}) {
  return {kind, QuantBytes::own(test::random_weights(kind, rows, kColumns, 3)), rows, std::move(bias)};
}

/// The reference backend with its results changed, or with an error in their
/// place.
class Spoilt : public ReferenceBackend {
 public:
  using Change = std::function<Status(std::span<float> y, std::uint64_t m)>;
  explicit Spoilt(Change change, Precision claim = Precision::f32) : change_(std::move(change)), claim_(claim) {}

  [[nodiscard]] Status gemm_quant(Context& ctx, const HostInput& input, const QuantStore& store, const HostOutput& out,
                                  std::uint64_t m) const {
    if (Status s = ReferenceBackend::gemm_quant(ctx, input, store, out, m); !s) return s;
    return change_(std::span(out.data, m * store.out_features()), m);
  }
  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const {
    Explanation e = ReferenceBackend::explain(store, m);
    for (PartExplanation& p : e.parts) p.runs = claim_;
    return e;
  }

 private:
  Change change_;
  Precision claim_;
};
static_assert(Backend<Spoilt>);

/// The verdicts about a Q4_K layer (with bias) whose results are changed so.
VerifyReport report_on(Spoilt::Change change, Precision claim = Precision::f32) {
  const Spoilt backend(std::move(change), claim);
  const std::vector<QuantPart> parts = {part(Kind::Q4_K, kRows, test::random_activations(kRows, 5))};
  return QuantLinear<Spoilt>::from_gguf_fused(backend, parts, kColumns).value().verify().value();
}

std::vector<bool> passed(const VerifyReport& report) {
  std::vector<bool> flags;
  for (const VerifyResult& r : report.results) flags.push_back(r.passed);
  return flags;
}

class EveryType : public testing::TestWithParam<QuantTypeInfo> {};

TEST_P(EveryType, PassesOnGoodKernels) {
  const std::vector<QuantPart> parts = {part(GetParam().type, kRows, test::random_activations(kRows, 5)),
                                        part(GetParam().type, 3)};
  const VerifyReport exact =
      QuantLinear<ReferenceBackend>::from_gguf_fused(ReferenceBackend(), parts, kColumns).value().verify().value();
  EXPECT_TRUE(exact.passed);
  EXPECT_EQ(exact.precision, Precision::f32);
  EXPECT_EQ(passed(exact), std::vector<bool>(3, true));
  for (const VerifyResult& r : exact.results) {
    EXPECT_LT(r.nmse, 1e-14) << "m " << r.m;  // rounded once: half an ulp, squared
    EXPECT_GE(r.nmse_limit, 1e-11);
    EXPECT_LE(r.nmse_limit, 8.1e-11);
  }
  const CpuBackend cpu;
  for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
    const auto layer = QuantLinear<CpuBackend>::from_gguf_fused(cpu, parts, kColumns, {precision}).value();
    for (const bool outliers : {false, true}) {
      const VerifyReport report = layer.verify({.seed = 7, .outliers = outliers}).value();
      EXPECT_TRUE(report.passed) << to_string(precision) << (outliers ? " with outliers" : "");
      EXPECT_FALSE(report.broken_block);
      EXPECT_EQ(report.precision, layer.explain(1).parts[0].runs);
      for (const VerifyResult& r : report.results) {
        EXPECT_LE(r.nmse, r.nmse_limit) << "m " << r.m << ", " << to_string(precision);
        EXPECT_GT(r.max_abs_error, 0.0) << "nothing is rounded?";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Verify, EveryType, testing::ValuesIn(quant_types().begin(), quant_types().end()),
                         [](const auto& type) { return std::string(type.param.name); });

TEST(Verify, FindsSwappedColumnsAndAForgottenBias) {
  EXPECT_EQ(passed(report_on([](std::span<float> y, std::uint64_t m) {
              for (std::uint64_t i = 0; i < m; ++i) std::swap(y[i * kRows], y[i * kRows + 1]);
              return Status();
            })),
            std::vector<bool>(3, false));
  const std::vector<float> bias = test::random_activations(kRows, 5);
  EXPECT_EQ(passed(report_on([&](std::span<float> y, std::uint64_t) {
              for (std::size_t i = 0; i < y.size(); ++i) y[i] -= bias[i % kRows];
              return Status();
            })),
            std::vector<bool>(3, false));
}

TEST(Verify, FindsAPrecisionThatIsNotKept) {
  // The error of 8-bit activations is fine for who says a8, and not for who
  // says a16 or f32.
  const auto rounded = [](std::span<float> y, std::uint64_t) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] *= i % kRows % 2 == 0 ? 1.005f : 0.995f;
    return Status();
  };
  EXPECT_TRUE(report_on(rounded, Precision::a8).passed);
  EXPECT_FALSE(report_on(rounded, Precision::a16).passed);
  EXPECT_FALSE(report_on(rounded, Precision::f32).passed);
}

TEST(Verify, PassesErrorsOn) {
  const Spoilt backend(
      [](auto, std::uint64_t m) { return m == 5 ? Status(fail(ErrorCode::device, "lost")) : Status(); });
  const auto layer = QuantLinear<Spoilt>::from_gguf_fused(backend, std::vector{part(Kind::Q8_0)}, kColumns).value();
  const auto report = layer.verify();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::device);
  EXPECT_EQ(report.error().message, "lost");
}

TEST(Verify, FindsAKernelThatHidesABrokenBlock) {
  std::vector<QuantPart> parts = {part(Kind::Q8_0, 5), part(Kind::Q4_K, 7)};
  std::vector<std::byte> bytes(parts[1].bytes.bytes().begin(), parts[1].bytes.bytes().end());
  bytes[bytes.size() / 7 * 4] = std::byte{0};  // the scale of row 4 becomes infinite
  bytes[bytes.size() / 7 * 4 + 1] = std::byte{0x7c};
  parts[1].bytes = QuantBytes::own(bytes);
  const auto passed_by = [&](Spoilt::Change change) {
    return passed(
        QuantLinear<Spoilt>::from_gguf_fused(Spoilt(std::move(change)), parts, kColumns).value().verify().value());
  };
  EXPECT_EQ(passed_by([](auto, auto) { return Status(); }), std::vector<bool>(3, true))
      << "it does what the block says";
  EXPECT_EQ(passed_by([](std::span<float> y, std::uint64_t) {
              for (float& v : y) v = std::isfinite(v) ? v : 0.0f;
              return Status();
            }),
            std::vector<bool>(3, false));
}

TEST(Verify, FewSumsThatCancelAreNoError) {
  // With one row and m = 1 the exact value is sometimes near 0, and the error
  // is no average of many.
  for (const Kind kind : {Kind::Q8_0, Kind::Q4_K}) {
    const auto layer =
        QuantLinear<CpuBackend>::from_gguf_fused(CpuBackend(), std::vector{part(kind, 1)}, kColumns).value();
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      const VerifyReport report = layer.verify({.m = {1, 2}, .seed = seed}).value();
      for (const VerifyResult& r : report.results) {
        EXPECT_TRUE(r.passed) << "seed " << seed << " m " << r.m << ": " << r.nmse << " of " << r.nmse_limit;
      }
    }
  }
}

TEST(Verify, EmptyLayersPass) {
  const AnyBackend any{CpuBackend()};
  EXPECT_TRUE(
      QuantLinear<AnyBackend>::from_gguf_bytes(any, Kind::Q4_K, {}, 0, kColumns).value().verify().value().passed);
  const std::vector<float> bias = {1.0f, 2.0f, 3.0f};
  EXPECT_TRUE(
      QuantLinear<AnyBackend>::from_gguf_bytes(any, Kind::Q4_K, {}, 3, 0, {}, bias).value().verify().value().passed);
}

TEST(Verify, ImpossibleBatchSizesAreErrors) {
  const auto layer =
      QuantLinear<ReferenceBackend>::from_gguf_fused(ReferenceBackend(), std::vector{part(Kind::Q8_0)}, kColumns)
          .value();
  for (const int power : {63, 60, 55, 53}) {  // 2^55 rows of 512 floats are 2^64 floats, which looks like none
    const auto report = layer.verify({.m = {1, std::uint64_t{1} << power}});
    ASSERT_FALSE(report) << "2^" << power;
    EXPECT_EQ(report.error().code, ErrorCode::out_of_memory);
    EXPECT_NE(report.error().message.find(std::to_string(std::uint64_t{1} << power)), std::string::npos);
  }
}

TEST(VerifyActivations, AreTheSameEverywhere) {
  const std::vector<float> x = detail::verify_activations(2, 2, {}).value();
  const std::uint32_t expected[] = {0x400a1c19, 0xbf594df0, 0x3d4e81d2, 0xbf99f6fb};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(std::bit_cast<std::uint32_t>(x[i]), expected[i]) << x[i];
}

TEST(VerifyActivations, AreGaussianWithOneOutlierARowIfAskedFor) {
  for (const bool outliers : {false, true}) {
    const std::vector<float> x = detail::verify_activations(64, 1024, {.seed = 9, .outliers = outliers}).value();
    double sum = 0, squares = 0, fourth = 0;
    for (std::size_t row = 0; row < 64; ++row) {
      const auto values = std::span(x).subspan(row * 1024, 1024);
      EXPECT_EQ(std::ranges::count(values, 30.0f), outliers ? 1 : 0);
      for (const float f : values) {
        const double v = f == 30.0f ? 0.0 : static_cast<double>(f);
        sum += v;
        squares += v * v;
        fourth += v * v * v * v;
      }
    }
    const double n = 64 * 1024;
    EXPECT_NEAR(sum / n, 0.0, 0.02);
    EXPECT_NEAR(squares / n, 1.0, 0.03);
    EXPECT_NEAR(fourth / n, 2.9, 0.15);
  }
}

}  // namespace
}  // namespace quantlinear
