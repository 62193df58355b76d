// The dispatch table is the test plan: every instruction set x format x precision that this machine
// runs, on awkward shapes, with buffers that end or begin at a guard page, compared bit for bit with scalar.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cpu/cpu_features.hpp"
#include "cpu/forward_plan.hpp"
#include "cpu/kernel_table.hpp"
#include "quantlinear/cpu_backend.hpp"
#include "support/golden.hpp"
#include "support/guarded_buffer.hpp"
#include "support/random_weights.hpp"
#include "support/same_bits.hpp"

namespace quantlinear {
namespace {

using cpu::ActivationSpec;
using cpu::FormatKernels;
using cpu::InstructionSet;
using cpu::ProductKernel;
using test::Guard;
using test::GuardedBuffer;
using test::same_bits;

std::vector<const InstructionSet*> usable() {
  std::vector<const InstructionSet*> sets;
  for (const InstructionSet& isa : cpu::instruction_sets()) {
    if ((isa.features & ~cpu::detect_features()) == 0) sets.push_back(&isa);
  }
  return sets;
}

/// What one kernel makes of n x k weights and m rows of x.
struct Product {
  std::vector<float> y;
  std::vector<std::byte> values, meta;  ///< the prepared activations
};

Product run(const InstructionSet& isa, const ProductKernel& kernel, std::span<const std::byte> weights, std::size_t n,
            std::size_t k, std::span<const float> x, std::size_t m, const float* bias = nullptr) {
  const ActivationSpec spec = kernel.activations(m);
  const std::size_t chunks = cpu::chunks_of(k);
  // Every m meets even and odd n.
  const GuardedBuffer w(weights, (m + n) % 2 == 0 ? Guard::before : Guard::behind);
  const GuardedBuffer input(std::as_bytes(x)), out(m * n * sizeof(float));
  const GuardedBuffer values(cpu::values_bytes(spec, k, m));
  const GuardedBuffer meta(chunks * m * cpu::meta_bytes(spec));
  const GuardedBuffer scratch((kernel.scratch_bytes(m, k) + 63) / 64 * 64);
  for (std::size_t i = 0; i < m; ++i) {
    EXPECT_TRUE(isa.prepare_row(spec, input.as<float>().data() + i * k, k, i, m, values.data(), meta.data()));
  }
  kernel.run({.weights = reinterpret_cast<const std::uint8_t*>(w.data()),
              .row_bytes = n == 0 ? 0 : weights.size() / n,
              .row_begin = 0,
              .row_end = n,
              .in_features = k,
              .x = {values.data(), meta.data(), m},
              .out = out.as<float>().data(),
              .out_stride = n,
              .bias = bias,
              .scratch = scratch.data()});
  const auto y = out.as<float>();
  return {
      {y.begin(), y.end()}, {values.bytes().begin(), values.bytes().end()}, {meta.bytes().begin(), meta.bytes().end()}};
}

constexpr Precision kPrecisions[] = {Precision::f32, Precision::a16, Precision::a8};
constexpr double kLimits[] = {1e-11, 1e-6, 1e-4};

class EveryFormat : public testing::TestWithParam<QuantTypeInfo> {
 protected:
  /// Calls body(set, kernels, product kernel, precision) for every usable set and precision.
  template <class Body>
  void for_each_kernel(Body body) {
    for (const InstructionSet* isa : usable()) {
      const FormatKernels* kernels = isa->find(GetParam().type);
      ASSERT_NE(kernels, nullptr) << isa->name;
      for (const Precision precision : kPrecisions) {
        SCOPED_TRACE(std::string(isa->name) + " " + std::string(to_string(precision)));
        body(*isa, *kernels, kernels->product[static_cast<std::size_t>(precision)], precision);
        if (HasFatalFailure()) return;
      }
    }
  }
  [[nodiscard]] const FormatKernels& scalar() const { return *cpu::instruction_sets().front().find(GetParam().type); }
};

TEST_P(EveryFormat, GivesTheBitsOfScalarOnAwkwardShapes) {
  const std::size_t block = GetParam().block_elements;
  const InstructionSet& plain = cpu::instruction_sets().front();
  struct Shape {
    std::size_t n, k;
  };
  std::vector<Shape> shapes = {{1, block}, {7, 256}, {17, 512}, {32, 256}, {40, 768}, {83, 256}};
  if (block < 256) shapes.insert(shapes.end(), {{5, block * 3}, {33, 256 + block}, {8, 1024 - block}, {21, 384}});
  if (block == 1) shapes.insert(shapes.end(), {{3, 31}, {20, 259}, {9, 1031}, {17, 2056}, {8, 2051}});
  for (const Shape& shape : shapes) {
    const auto weights = test::random_weights(GetParam().type, shape.n, shape.k, 3);
    for (const std::size_t m : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U, 12U, 15U, 20U, 29U}) {
      const auto x = test::random_activations(m * shape.k, 11 + static_cast<std::uint32_t>(m));
      for_each_kernel(
          [&](const InstructionSet& isa, const FormatKernels&, const ProductKernel& kernel, Precision precision) {
            const ProductKernel& reference = scalar().product[static_cast<std::size_t>(precision)];
            const Product expected = run(plain, reference, weights, shape.n, shape.k, x, m);
            const Product found = run(isa, kernel, weights, shape.n, shape.k, x, m);
            EXPECT_TRUE(same_bits(found.y, expected.y)) << "n " << shape.n << " k " << shape.k << " m " << m;
            if (kernel.activations(m) == reference.activations(m)) {
              EXPECT_EQ(found.values, expected.values);
              EXPECT_EQ(found.meta, expected.meta);
            }
          });
      if (HasFailure()) return;
    }
  }
}

TEST_P(EveryFormat, RowsDoNotDependOnM) {
  // Every m up to well beyond the last cut-off between kernels: each of them, and each of their passes, gives the rows
  // of the scalar kernel, which takes one row of activations after the other.
  const std::size_t n = 33, k = 512, most = 45;
  const auto weights = test::random_weights(GetParam().type, n, k, 5);
  const auto x = test::random_activations(most * k, 21);
  std::map<Precision, Product> expected;
  for_each_kernel(
      [&](const InstructionSet& isa, const FormatKernels&, const ProductKernel& kernel, Precision precision) {
        if (isa.name == cpu::instruction_sets().front().name) {
          expected.emplace(precision, run(isa, kernel, weights, n, k, x, most));
        }
        const std::size_t step = isa.name == cpu::instruction_sets().front().name ? 7 : 1;
        for (std::size_t m = 1; m <= most; m += step) {
          const Product some = run(isa, kernel, weights, n, k, std::span(x).first(m * k), m);
          EXPECT_TRUE(same_bits(some.y, std::span(expected.at(precision).y).first(m * n))) << "m " << m;
        }
      });
}

TEST_P(EveryFormat, MatchesTheGoldenProducts) {
  const test::GoldenFile golden = test::load_golden(GetParam());
  const std::vector<float> x = golden["x"].floats();
  const std::size_t k = golden["x"].shape[0], m = golden["x"].shape[1];
  for_each_kernel(
      [&](const InstructionSet& isa, const FormatKernels&, const ProductKernel& kernel, Precision precision) {
        for (const std::string set : {"w", "bits"}) {
          const test::GoldenTensor& weight = golden[set + ".weight"];
          const std::vector<float> expected = golden[set + ".y"].floats();
          const Product found = run(isa, kernel, weight.bytes, weight.shape[1], k, x, m);
          const std::vector<float> w = golden[set + ".dequantized"].floats();
          const std::size_t n = weight.shape[1];
          double all_error = 0, all_power = 0;
          for (std::size_t row = 0; row < n; ++row) {
            // Rows of the random bits differ by many orders of magnitude, so each row counts for itself
            // as well, against the power that products of random sign would have.
            double error = 0, power = 0, expected_power = 0;
            for (std::size_t i = 0; i < m; ++i) {
              const double e = expected[i * n + row], f = found.y[i * n + row];
              if (!std::isfinite(e)) {
                EXPECT_FALSE(std::isfinite(f)) << set << " row " << row;
                continue;
              }
              error += (f - e) * (f - e);
              power += e * e;
              for (std::size_t j = 0; j < k; ++j) {
                const double product = static_cast<double>(w[row * k + j]) * x[i * k + j];
                expected_power += product * product;
              }
            }
            const double limit = kLimits[static_cast<std::size_t>(precision)];
            EXPECT_TRUE(error <= 3 * limit * expected_power) << set << " row " << row << " " << error / expected_power;
            all_error += error;
            all_power += power;
          }
          if (set == "w") {
            const double nmse = all_error / all_power;
            EXPECT_TRUE(nmse <= kLimits[static_cast<std::size_t>(precision)]) << "NMSE " << nmse;
            RecordProperty(std::string(isa.name) + "_" + std::string(to_string(precision)), std::to_string(nmse));
          }
        }
      });
}

TEST_P(EveryFormat, DecodesAsTheDefinition) {
  const std::size_t block = GetParam().block_elements;
  const std::size_t columns = block == 1 ? 333 : 3 * block;
  auto weights = test::random_weights(GetParam().type, 4, columns, 9);
  std::vector<float> expected(4 * columns);
  ASSERT_TRUE(dequantize(GetParam().type, weights, expected));
  const GuardedBuffer bytes{std::span<const std::byte>(weights)}, out(expected.size() * sizeof(float));
  for (const InstructionSet* isa : usable()) {
    isa->find(GetParam().type)
        ->dequantize(reinterpret_cast<const std::uint8_t*>(bytes.data()), 4 * columns / block, out.as<float>().data());
    EXPECT_TRUE(same_bits(out.as<float>(), expected)) << isa->name;
  }
}

TEST_P(EveryFormat, ExtremeBlocksDoNotOverflow) {
  // Blocks of one byte value each, with activations at the ends of their range: the largest sums that
  // the integer arithmetic can meet. +-1 quantises exactly, so the products must be exact but for f32.
  const std::size_t block = GetParam().block_elements, k = 1024, m = 10;
  std::vector<std::byte> weights;
  std::vector<float> values(block);
  for (int value = 0; value < 256; ++value) {
    for (const int other : {value, 255 - value, 0x3c}) {
      std::vector<std::byte> bytes(GetParam().block_bytes, static_cast<std::byte>(value));
      for (std::size_t i = 1; i < bytes.size(); i += 2) bytes[i] = static_cast<std::byte>(other);
      if (!dequantize(GetParam().type, bytes, values)) continue;
      if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v) && std::abs(v) < 1e9f; })) continue;
      if (value % 15 != 0 && value != 0x80 && GetParam().block_bytes > 4) continue;
      for (std::size_t i = 0; i < k / block; ++i) weights.insert(weights.end(), bytes.begin(), bytes.end());
    }
  }
  const std::size_t rows = weights.size() / (k / block * GetParam().block_bytes);
  ASSERT_GT(rows, 0u);
  std::vector<float> w(rows * k), x(m * k);
  ASSERT_TRUE(dequantize(GetParam().type, weights, w));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t row = i / k;
    x[i] = row == 0       ? 1.0f
           : row == 1     ? -1.0f
           : row % 2 == 0 ? (i / row % 2 == 0 ? 1.0f : -1.0f)
                          : (w[i % k] < 0 ? -1.0f : 1.0f);
  }
  for_each_kernel([&](const InstructionSet& isa, const FormatKernels&, const ProductKernel& kernel, Precision) {
    const Product found = run(isa, kernel, weights, rows, k, x, m);
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t r = 0; r < rows; ++r) {
        double exact = 0, size = 0;
        for (std::size_t j = 0; j < k; ++j) {
          exact += static_cast<double>(x[i * k + j]) * w[r * k + j];
          size += std::abs(static_cast<double>(w[r * k + j]));
        }
        ASSERT_NEAR(found.y[i * rows + r], exact, 4e-6 * size + 1e-30) << "row " << r << " column " << i;
      }
    }
  });
}

TEST_P(EveryFormat, TinyHugeAndZeroActivations) {
  const std::size_t n = 9, k = 512;
  const auto weights = test::random_weights(GetParam().type, n, k, 13);
  for (const float size : {0.0f, 1e-44f, 1e-38f, 1e-20f, 1e20f}) {
    auto x = test::random_activations(k, 17);
    for (float& v : x) v *= size;
    for_each_kernel(
        [&](const InstructionSet& isa, const FormatKernels&, const ProductKernel& kernel, Precision precision) {
          const Product found = run(isa, kernel, weights, n, k, x, 1);
          const Product expected = run(cpu::instruction_sets().front(),
                                       scalar().product[static_cast<std::size_t>(precision)], weights, n, k, x, 1);
          EXPECT_TRUE(same_bits(found.y, expected.y)) << "size " << size;
          for (const float y : found.y) {
            EXPECT_TRUE(std::isfinite(y));
            if (size == 0.0f) {
              EXPECT_EQ(y, 0.0f);
            }
          }
        });
  }
}

std::string type_name(const testing::TestParamInfo<QuantTypeInfo>& info) { return std::string(info.param.name); }
INSTANTIATE_TEST_SUITE_P(Kernels, EveryFormat, testing::ValuesIn(quant_types().begin(), quant_types().end()),
                         type_name);

/// Neighbouring blocks of very different size, with a value that is not finite at any place or none.
TEST(InstructionSets, PrepareEachBlockByItself) {
  constexpr float kSizes[] = {1.0f, 0.0f, 1e-44f, 1e-33f, 1e37f, 3e-31f, 1e-20f};
  for (const std::size_t k : {32U, 256U, 512U, 608U}) {
    for (const std::uint16_t block : {std::uint16_t{32}, std::uint16_t{256}}) {
      if (k % block != 0) continue;
      for (const Precision precision : {Precision::a8, Precision::a16}) {
        const ActivationSpec spec{precision, block,
                                  static_cast<std::uint16_t>(precision == Precision::a8 ? 127 : 8191)};
        for (const std::size_t bad : {k, std::size_t{0}, k / 2 + 7, k - 1}) {
          auto x = test::random_activations(k, 23);
          for (std::size_t i = 0; i < k; ++i) x[i] *= kSizes[i / 32 % std::size(kSizes)];
          if (bad < k) x[bad] = bad % 2 == 0 ? std::numeric_limits<float>::quiet_NaN() : -HUGE_VALF;
          const auto prepare = [&](const InstructionSet& isa) {
            const GuardedBuffer input(std::as_bytes(std::span<const float>(x)));
            std::vector<std::byte> made(cpu::values_bytes(spec, k, 3)),
                meta(cpu::chunks_of(k) * 3 * cpu::meta_bytes(spec));
            const bool finite = isa.prepare_row(spec, input.as<float>().data(), k, 1, 3, made.data(), meta.data());
            EXPECT_EQ(finite, bad == k);
            made.insert(made.end(), meta.begin(), meta.end());
            return made;
          };
          const auto expected = prepare(cpu::instruction_sets().front());
          for (const InstructionSet* isa : usable()) {
            EXPECT_EQ(prepare(*isa), expected) << isa->name << " k " << k << " block " << block << " bad " << bad;
          }
        }
      }
    }
  }
}

TEST(InstructionSets, TheForcedOneIsTaken) {
  for (const InstructionSetInfo& info : CpuBackend::instruction_sets()) {
    CpuOptions options;
    options.instruction_set = info.name;
    const CpuBackend cpu(options);
    EXPECT_EQ(cpu.status().has_value(), info.usable) << info.name;
    if (!info.usable) continue;
    EXPECT_EQ(cpu.instruction_set(), info.name);
    const auto weights = test::random_weights(GgufQuantType::Q4_K, 16, 256, 1);
    const auto store = cpu.load_quant({GgufQuantType::Q4_K, QuantBytes::borrow(weights), 16}, 256);
    ASSERT_TRUE(store);
    EXPECT_EQ(cpu.explain(*store, 1).parts[0].instruction_set, info.name);
  }
}

TEST(InstructionSets, TheDefaultIsTheStrongestUsable) {
  EXPECT_EQ(CpuBackend().instruction_set(), usable().back()->name);
  EXPECT_EQ(cpu::instruction_sets().front().name, "scalar");
}

TEST(InstructionSets, AnUnknownOneIsAnError) {
  CpuOptions options;
  options.instruction_set = "avx9000";
  const CpuBackend cpu(options);
  ASSERT_FALSE(cpu.status());
  EXPECT_EQ(cpu.status().error().code, ErrorCode::unsupported);
  EXPECT_NE(cpu.status().error().message.find("avx9000"), std::string::npos);
  EXPECT_FALSE(cpu.new_context());
}

TEST(GuardedBufferDeathTest, TheGuardPagesBite) {
  const GuardedBuffer buffer(100), other(100, Guard::before);
  volatile std::byte* data = buffer.data();
  data[99] = std::byte{1};
  EXPECT_DEATH(data[100] = std::byte{1}, "");
  data = other.data();
  data[0] = std::byte{1};
  EXPECT_DEATH(data[-1] = std::byte{1}, "");
}

TEST(Kernels, ALayoutOfPreparedActivationsHasRoomForEverySpec) {
  std::vector<cpu::ActivationSpec> specs;
  for (const InstructionSet& isa : cpu::instruction_sets()) {
    for (const FormatKernels* format : isa.formats) {
      std::vector<ProductKernel> kernels(format->product.begin(), format->product.end());
      if (format->interleaved.run != nullptr) kernels.push_back(format->interleaved);
      for (const ProductKernel& kernel : kernels) {
        for (std::size_t m = 1; m <= cpu::kMaxColumns; ++m) {
          const cpu::ActivationSpec spec = kernel.activations(m);
          if (std::ranges::find(specs, spec) == specs.end()) specs.push_back(spec);
          if (m >= cpu::kMaxColumns / 2) {
            EXPECT_EQ(spec, kernel.activations(cpu::kMaxColumns));
          }
        }
      }
    }
  }
  EXPECT_GT(specs.size(), 3u);
  EXPECT_LE(specs.size(), cpu::PreparedLayout::kMostEntries);
}

}  // namespace
}  // namespace quantlinear
