// QuantLinear::verify: passes what is good, finds what is broken, and convicts backends that err.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"
#include "quantlinear/reference_backend.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
constexpr Precision kPrecisions[] = {Precision::f32, Precision::a16, Precision::a8};

QuantPart part(Kind kind, std::uint64_t rows, std::uint64_t columns, std::vector<float> bias = {}) {
  return {kind, QuantBytes::own(test::random_weights(kind, rows, columns, 3)), rows, std::move(bias)};
}

std::vector<QuantPart> good(std::uint64_t columns = 512) {
  return {part(Kind::Q4_K, 21, columns, std::vector<float>(21, 0.5f)), part(Kind::Q6_K, 9, columns)};
}

template <class B>
VerifyReport verify(const B& backend, const std::vector<QuantPart>& parts, Precision precision,
                    const VerifyOptions& options = {}, std::uint64_t columns = 512) {
  const auto layer = QuantLinear<B>::from_gguf_fused(backend, parts, columns, {precision}).value();
  return layer.verify(options).value();
}

TEST(Verify, PassesGoodWeightsInEveryPrecision) {
  const double limits[] = {1e-11, 1e-6, 1e-4};
  for (const Precision precision : kPrecisions) {
    const VerifyReport report = verify(CpuBackend(), good(), precision);
    EXPECT_TRUE(report.passed) << to_string(precision);
    EXPECT_EQ(report.precision, precision);
    EXPECT_FALSE(report.broken_block.has_value());
    ASSERT_EQ(report.results.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      const VerifyResult& r = report.results[i];
      EXPECT_EQ(r.m, (std::vector<std::uint64_t>{1, 5, 64})[i]);
      const double limit = limits[static_cast<std::size_t>(precision)];
      EXPECT_GT(r.nmse_limit, limit * (1 + 5 * std::sqrt(2.0 / 30)));  // unequal rows: fewer than 30 in effect
      EXPECT_LT(r.nmse_limit, limit * (1 + 5 * std::sqrt(2.0)));
      EXPECT_TRUE(r.passed);
      EXPECT_GT(r.nmse, 0.0) << "a comparison that finds no rounding at all compares nothing";
      EXPECT_LE(r.nmse, r.nmse_limit);
      EXPECT_GT(r.max_abs_error, 0.0);
    }
  }
  EXPECT_TRUE(verify(ReferenceBackend(), good(), Precision::a8).passed);
  EXPECT_EQ(verify(ReferenceBackend(), good(), Precision::a8).precision, Precision::f32);
}

TEST(Verify, TheLeastExactPartDecides) {
  const CpuBackend cpu;
  EXPECT_EQ(verify(cpu, {part(Kind::F16, 4, 512), part(Kind::BF16, 3, 512)}, Precision::a8).precision, Precision::f32);
  EXPECT_EQ(verify(cpu, {part(Kind::F16, 4, 512), part(Kind::Q8_0, 3, 512)}, Precision::a8).precision, Precision::a8);
}

TEST(Verify, WithOutliersTheLimitsAreThoseOfOutliers) {
  // One 30-sigma value per row of 256, the worst case: it shares its scale with the whole row. The limits
  // for ordinary activations are not expected to hold then; those in the report are.
  VerifyOptions options;
  options.outliers = true;
  const auto nmse = [&](Kind kind, Precision precision) {
    const VerifyReport report = verify(CpuBackend(), {part(kind, 64, 256)}, precision, options, 256);
    EXPECT_TRUE(report.passed) << to_string(kind) << " " << to_string(precision);
    return report.results[2].nmse;
  };
  for (const Kind kind : {Kind::Q4_K, Kind::Q6_K, Kind::IQ4_XS, Kind::Q8_0, Kind::Q4_0}) {
    SCOPED_TRACE(to_string(kind));
    EXPECT_LE(nmse(kind, Precision::f32), 1e-11);
    EXPECT_LE(nmse(kind, Precision::a16), 5e-6);
    // An error of 30 / 127 / sqrt(12) per value, against a power of 1 + 900 / 256: 1e-3 where the scale
    // spans 256 values, an eighth of it for 32. Weights are no Gaussians, hence the room.
    const bool wide = quant_type_info(kind)->block_elements == 256;
    const double a8 = nmse(kind, Precision::a8);
    EXPECT_GE(a8, wide ? 1e-4 : 1e-5) << "the outliers are not there";
    EXPECT_LE(a8, wide ? 5e-3 : 1e-3);
  }
}

TEST(Verify, TheSeedChoosesTheActivations) {
  const auto nmse = [](std::uint64_t seed) {
    VerifyOptions options;
    options.seed = seed;
    return verify(CpuBackend(), good(), Precision::a8, options).results[1].nmse;
  };
  EXPECT_EQ(nmse(1), nmse(1));
  EXPECT_NE(nmse(1), nmse(2));
}

TEST(Verify, ReportsProgressAndAcceptsAnyListOfM) {
  VerifyOptions options;
  options.m = {0, 7, 3, 7};
  std::uint64_t calls = 0, done = 0, all = 0;
  options.progress = [&](std::uint64_t now, std::uint64_t total) {
    ++calls;
    EXPECT_GE(now, done);
    done = now;
    all = total;
  };
  const VerifyReport report = verify(CpuBackend(), good(), Precision::a8, options);
  EXPECT_TRUE(report.passed);
  EXPECT_EQ(report.results.size(), 4u);
  EXPECT_GE(calls, 2u);
  EXPECT_EQ(done, 30u);
  EXPECT_EQ(all, 30u);
  options.m = {};
  options.progress = {};
  EXPECT_TRUE(verify(CpuBackend(), good(), Precision::a8, options).passed);
}

TEST(Verify, AnImpossibleMIsAnError) {
  const auto layer = QuantLinear<CpuBackend>::from_gguf_fused(CpuBackend(), good(), 512).value();
  for (const std::uint64_t m :
       {std::uint64_t{1} << 53, std::uint64_t{1} << 54, std::uint64_t{1} << 60, ~std::uint64_t{0}}) {
    VerifyOptions options;
    options.m = {1, m};
    EXPECT_FALSE(layer.verify(options)) << m;
  }
}

TEST(Verify, FindsTheFirstBrokenBlock) {
  const std::pair<int, int> broken_halves[] = {{0, 0x7e}, {0, 0x7c}, {0, 0xfc}};  // NaN, inf, -inf
  for (const auto& [low, high] : broken_halves) {
    auto parts = good(1024);
    std::vector<std::byte> bytes(parts[1].bytes.bytes().begin(), parts[1].bytes.bytes().end());
    const std::size_t block = 7 * 4 + 2;  // row 7, block 2 of 4; the scale of Q6_K comes last in its 210 bytes
    for (const std::size_t at : {block, block + 5}) {
      bytes[at * 210 + 208] = static_cast<std::byte>(low);
      bytes[at * 210 + 209] = static_cast<std::byte>(high);
    }
    parts[1].bytes = QuantBytes::own(bytes);
    const VerifyReport report = verify(CpuBackend(), parts, Precision::a8, {}, 1024);
    EXPECT_FALSE(report.passed);
    ASSERT_TRUE(report.broken_block.has_value());
    EXPECT_EQ(report.broken_block->part, 1u);
    EXPECT_EQ(report.broken_block->row, 7u);
    EXPECT_EQ(report.broken_block->block, 2u);
    EXPECT_EQ(report.broken_block->byte_offset_in_part, block * 210);
    for (const VerifyResult& r : report.results) EXPECT_TRUE(r.passed) << "the kernels did what the weights say";
  }
}

/// A CPU backend whose results are changed by `Crime`: void(std::span<float> y, std::uint64_t m).
template <class Crime>
class Criminal : public CpuBackend {
 public:
  Status gemm_quant(CpuBackend::Context& ctx, const HostInput& input, const CpuBackend::QuantStore& store,
                    const HostOutput& out, std::uint64_t m) const {
    Status status = CpuBackend::gemm_quant(ctx, input, store, out, m);
    if (status) Crime{}(std::span(out.data, m * store.out_features()), m);
    return status;
  }
};

template <class Crime>
void expect_convicted(Precision precision, std::uint64_t guilty_m) {
  const VerifyReport report = verify(Criminal<Crime>(), good(), precision);
  EXPECT_FALSE(report.passed) << to_string(precision);
  EXPECT_FALSE(report.broken_block.has_value());
  for (const VerifyResult& r : report.results) {
    if (r.m != guilty_m) continue;
    EXPECT_FALSE(r.passed) << "m " << r.m << " " << to_string(precision);
  }
}

struct Nothing {
  void operator()(std::span<float>, std::uint64_t) const {}
};
struct WrongSignOfTheLargest {
  void operator()(std::span<float> y, std::uint64_t) const {
    *std::ranges::max_element(y, {}, [](float v) { return std::abs(v); }) *= -1.0f;
  }
};
struct OneUlpForOneM {
  void operator()(std::span<float> y, std::uint64_t m) const {
    if (m == 5) y[7] = std::nextafter(y[7], 1e30f);
  }
};
struct OneNan {
  void operator()(std::span<float> y, std::uint64_t) const { y[11] = std::numeric_limits<float>::quiet_NaN(); }
};
struct OneInfinity {
  void operator()(std::span<float> y, std::uint64_t) const { y[11] = std::numeric_limits<float>::infinity(); }
};
struct SwappedColumns {
  void operator()(std::span<float> y, std::uint64_t) const { std::swap(y[0], y[1]); }
};
struct SlightlyWrongScale {
  void operator()(std::span<float> y, std::uint64_t) const {
    for (float& v : y) v *= 1.05f;
  }
};

TEST(Verify, ConvictsWrongBackends) {
  EXPECT_TRUE(verify(Criminal<Nothing>(), good(), Precision::a8).passed) << "the wrapper itself is innocent";
  for (const Precision precision : kPrecisions) {
    expect_convicted<WrongSignOfTheLargest>(precision, 64);
    expect_convicted<OneUlpForOneM>(precision, 5);
    expect_convicted<OneNan>(precision, 1);
    expect_convicted<OneInfinity>(precision, 64);
    expect_convicted<SwappedColumns>(precision, 1);
    expect_convicted<SlightlyWrongScale>(precision, 64);
  }
}

TEST(Verify, AForwardThatFailsIsAnError) {
  CpuOptions options;
  options.instruction_set = "avx9000";
  const CpuBackend impossible(options), cpu;
  const auto store = cpu.load_quant(part(Kind::Q8_0, 2, 32), 32).value();
  const auto report = verify_layer(impossible, store, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace quantlinear
