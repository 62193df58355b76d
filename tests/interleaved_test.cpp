// Interleaved weights: every kernel of the table against scalar, bit for bit, with buffers that end at a guard page;
// and stores that keep such a copy: the same results, rows, export, plan and verdict as in the file's layout.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cpu/cpu_features.hpp"
#include "cpu/interleave.hpp"
#include "cpu/kernel_table.hpp"
#include "quantlinear/any_backend.hpp"
#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"
#include "support/guarded_buffer.hpp"
#include "support/random_weights.hpp"
#include "support/same_bits.hpp"

namespace quantlinear {
namespace {

using cpu::FormatKernels;
using cpu::InstructionSet;
using cpu::ProductKernel;
using test::Guard;
using test::GuardedBuffer;
using test::same_bits;
using Kind = GgufQuantType;
using Layer = QuantLinear<CpuBackend>;

constexpr LoadOptions kInterleaved{.precision = Precision::a8, .layout = StoreLayout::interleaved};
constexpr LoadOptions kAsInFile{.precision = Precision::a8};

/// Rows [begin, n) of n x k weights, the first `interleaved` of them interleaved, times m rows of x, plus bias.
std::vector<float> product(const InstructionSet& isa, const ProductKernel& kernel, std::span<const std::byte> weights,
                           std::size_t n, std::size_t k, std::span<const float> x, std::size_t m, const float* bias,
                           std::size_t interleaved, std::size_t begin = 0) {
  const cpu::ActivationSpec spec = kernel.activations(m);
  const std::size_t chunks = cpu::chunks_of(k);
  const GuardedBuffer w(weights, (m + n) % 2 == 0 ? Guard::before : Guard::behind), out(m * n * sizeof(float));
  const GuardedBuffer values(cpu::values_bytes(spec, k, m));
  const GuardedBuffer meta(chunks * m * cpu::meta_bytes(spec));
  const GuardedBuffer scratch((kernel.scratch_bytes(m, k) + 63) / 64 * 64);
  std::memset(out.data(), 0, out.size());
  for (std::size_t i = 0; i < m; ++i) isa.prepare_row(spec, x.data() + i * k, k, i, m, values.data(), meta.data());
  kernel.run({.weights = reinterpret_cast<const std::uint8_t*>(w.data()),
              .row_bytes = weights.size() / n,
              .row_begin = begin,
              .row_end = n,
              .in_features = k,
              .x = {values.data(), meta.data(), m},
              .out = out.as<float>().data(),
              .out_stride = n,
              .bias = bias,
              .scratch = scratch.data(),
              .interleaved_rows = interleaved});
  const auto y = out.as<float>();
  return {y.begin(), y.end()};
}

class EveryFormat : public testing::TestWithParam<QuantTypeInfo> {};

TEST_P(EveryFormat, InterleavedKernelsGiveTheBitsOfScalar) {
  const auto one_thread = make_thread_pool({.threads = 1});
  const InstructionSet& plain = cpu::instruction_sets().front();
  const ProductKernel& definition = plain.find(GetParam().type)->product[static_cast<std::size_t>(Precision::a8)];
  std::size_t compared = 0;
  for (const InstructionSet& isa : cpu::instruction_sets()) {
    const FormatKernels& kernels = *isa.find(GetParam().type);
    if ((isa.features & ~cpu::detect_features()) != 0 || kernels.interleaved.run == nullptr) continue;
    struct Shape {
      std::size_t n, k;
    };
    std::vector<Shape> shapes = {{16, 256}, {17, 512}, {40, 768}, {65, 256}};
    if (GetParam().block_elements == 32) shapes.insert(shapes.end(), {{33, 288}, {16, 32}, {48, 1024 - 32}});
    for (const Shape& shape : shapes) {
      const auto weights = test::random_weights(GetParam().type, shape.n, shape.k, 3);
      const cpu::InterleavedRows matrix{kernels.block, weights.size() / shape.n, shape.n};
      const QuantBytes copy = cpu::interleave(matrix, weights, *one_thread).value();
      const auto bias = test::random_activations(shape.n, 5);
      for (const std::size_t m : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U, 11U, 12U, 15U, 16U, 17U, 29U, 66U}) {
        SCOPED_TRACE(std::string(isa.name) + " n " + std::to_string(shape.n) + " k " + std::to_string(shape.k) + " m " +
                     std::to_string(m));
        const auto x = test::random_activations(m * shape.k, 11 + static_cast<std::uint32_t>(m));
        const float* b = m % 2 == 0 ? bias.data() : nullptr;
        for (const std::size_t begin : {std::size_t{0}, shape.n / 32 * 32}) {
          if (begin == shape.n) continue;
          EXPECT_TRUE(same_bits(product(isa, kernels.interleaved, copy.bytes(), shape.n, shape.k, x, m, b,
                                        cpu::interleaved_rows(shape.n), begin),
                                product(plain, definition, weights, shape.n, shape.k, x, m, b, 0, begin)));
          ++compared;
        }
      }
    }
  }
  if (compared == 0) GTEST_SKIP() << "no kernels for interleaved weights of this type on this machine";
}

TEST_P(EveryFormat, IsAPermutationThatCanBeUndone) {
  const auto two_threads = make_thread_pool({.threads = 2});
  for (const InstructionSet& isa : cpu::instruction_sets()) {
    const FormatKernels& kernels = *isa.find(GetParam().type);
    if (kernels.interleaved.run == nullptr) continue;
    ASSERT_EQ(kernels.block.bytes, GetParam().block_bytes);
    const auto weights = test::random_weights(GetParam().type, 37, 768, 3);
    const cpu::InterleavedRows matrix{kernels.block, weights.size() / 37, 37};
    const QuantBytes copy = cpu::interleave(matrix, weights, *two_threads).value();
    std::vector<std::byte> a = weights, b(copy.bytes().begin(), copy.bytes().end()), row(matrix.row_bytes);
    EXPECT_NE(a, b);
    for (std::size_t i = 0; i < 37; ++i) {
      cpu::extract_row(matrix, copy.bytes(), i, row.data());
      EXPECT_EQ(std::memcmp(row.data(), weights.data() + i * matrix.row_bytes, row.size()), 0) << i;
    }
    std::ranges::sort(a);
    std::ranges::sort(b);
    EXPECT_EQ(a, b);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EveryFormat, testing::ValuesIn(quant_types().begin(), quant_types().end()),
                         [](const auto& type) { return std::string(type.param.name); });

TEST(Interleaved, LargerThanHugePages) {
  const auto two_threads = make_thread_pool({.threads = 2});
  constexpr std::size_t kRows = 2101, kRowBytes = 2048 / 32 * 34;  // 4.4 MiB
  const cpu::InterleavedBlock block{34, 0};
  const cpu::InterleavedRows matrix{block, kRowBytes, kRows};
  const auto weights = test::random_weights(GgufQuantType::Q8_0, kRows, 2048, 3);
  // The second copy may get the memory of the first one, with what it held.
  for (int i = 0; i < 2; ++i) {
    const QuantBytes copy = cpu::interleave(matrix, weights, *two_threads).value();
    ASSERT_EQ(copy.bytes().size(), weights.size());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(copy.bytes().data()) % 64, 0);
    std::vector<std::byte> row(kRowBytes);
    for (std::size_t r = 0; r < kRows; ++r) {
      cpu::extract_row(matrix, copy.bytes(), r, row.data());
      ASSERT_EQ(std::memcmp(row.data(), weights.data() + r * kRowBytes, kRowBytes), 0) << r;
    }
  }
}

/// A part of each kind of fate: interleaved with a rest, too few rows, a type without such kernels, a float type.
class InterleavedStore : public testing::Test {
 protected:
  static constexpr std::uint64_t kColumns = 512;
  [[nodiscard]] std::vector<QuantPart> parts() const {
    return {{Kind::Q4_K, QuantBytes::borrow(q4), 40, std::vector<float>(40, 0.5f)},
            {Kind::Q8_0, QuantBytes::borrow(q8), 64, {}},
            {Kind::Q2_K, QuantBytes::borrow(q2), 9, {}},
            {Kind::IQ2_XS, QuantBytes::borrow(iq2), 32, {}},
            {Kind::F16, QuantBytes::borrow(f16), 17, {}}};
  }
  static constexpr std::uint64_t kRows = 40 + 64 + 9 + 32 + 17;
  const std::vector<std::byte> q4 = test::random_weights(Kind::Q4_K, 40, kColumns, 1),
                               q8 = test::random_weights(Kind::Q8_0, 64, kColumns, 2),
                               q2 = test::random_weights(Kind::Q2_K, 9, kColumns, 3),
                               iq2 = test::random_weights(Kind::IQ2_XS, 32, kColumns, 4),
                               f16 = test::random_weights(Kind::F16, 17, kColumns, 5);
  const std::vector<float> x = test::random_activations(70 * kColumns, 6);
};

/// Whether this machine's best set has interleaved kernels at all.
bool has_interleaved(const CpuBackend& cpu) {
  for (const InstructionSet& isa : cpu::instruction_sets()) {
    if (isa.name == cpu.instruction_set()) return isa.find(Kind::Q4_K)->interleaved.run != nullptr;
  }
  return false;
}

TEST_F(InterleavedStore, EveryInstructionSetAndThreadCountGivesTheSameBits) {
  for (const InstructionSetInfo& isa : CpuBackend::instruction_sets()) {
    if (!isa.usable) continue;
    for (const std::size_t threads : {1U, 3U}) {
      CpuOptions options;
      options.threads.threads = threads;
      options.instruction_set = isa.name;
      const CpuBackend cpu(options);
      const Layer plain = Layer::from_gguf_fused(cpu, parts(), kColumns, kAsInFile).value();
      const Layer layer = Layer::from_gguf_fused(cpu, parts(), kColumns, kInterleaved).value();
      auto ctx = cpu.new_context().value();
      for (const std::uint64_t m : {1U, 2U, 6U, 33U, 70U}) {
        std::vector<float> expected(m * kRows), found(m * kRows);
        ASSERT_TRUE(plain.forward(ctx, x, expected, m));
        ASSERT_TRUE(layer.forward(ctx, x, found, m));
        EXPECT_TRUE(same_bits(found, expected)) << isa.name << " m " << m << " threads " << threads;
        const auto prepared = cpu.prepare(x, m, {&layer.store(), &plain.store()}).value();
        ASSERT_TRUE(layer.forward(ctx, prepared, found));
        EXPECT_TRUE(same_bits(found, expected)) << isa.name << " prepared, m " << m;
      }
    }
  }
}

TEST_F(InterleavedStore, ExportsTheFilesBytesAndLooksRowsUp) {
  const CpuBackend cpu;
  const Layer layer = Layer::from_gguf_fused(cpu, parts(), kColumns, kInterleaved).value();
  const Layer plain = Layer::from_gguf_fused(cpu, parts(), kColumns, kAsInFile).value();
  const std::vector<const std::vector<std::byte>*> sources = {&q4, &q8, &q2, &iq2, &f16};
  for (std::size_t p = 0; p < sources.size(); ++p) {
    for (const Layer* each : {&layer, &plain}) {
      std::vector<std::byte> bytes(sources[p]->size());
      ASSERT_TRUE(each->store().export_part(p, bytes));
      EXPECT_EQ(bytes, *sources[p]);
    }
  }
  std::vector<std::byte> small(10);
  const Status wrong_size = layer.store().export_part(0, small);
  ASSERT_FALSE(wrong_size);
  EXPECT_EQ(wrong_size.error().message, "target: found 10 bytes, expected 11520 as of the part");
  const Status no_part = layer.store().export_part(5, small);
  ASSERT_FALSE(no_part);
  EXPECT_EQ(no_part.error().message, "index: found part 5, expected less than 5");

  std::vector<std::uint64_t> rows(kRows);
  for (std::uint64_t i = 0; i < kRows; ++i) rows[i] = i;
  std::vector<float> expected(kRows * kColumns), found(kRows * kColumns);
  auto ctx = cpu.new_context().value();
  ASSERT_TRUE(plain.get_rows(ctx, rows, expected));
  ASSERT_TRUE(layer.get_rows(ctx, rows, found));
  EXPECT_TRUE(same_bits(found, expected));
}

TEST_F(InterleavedStore, OwnsItsCopyAndPlansIt) {
  const CpuBackend cpu;
  auto source = std::make_unique<std::vector<std::byte>>(q8);
  const QuantPart part{Kind::Q8_0, QuantBytes::share(*source, nullptr, true), 64, {}};
  const MemoryUse plan = cpu.memory_plan({&part, 1}, kColumns, 0, kInterleaved).value();
  const Layer layer = Layer::from_gguf_fused(cpu, {&part, 1}, kColumns, kInterleaved).value();
  EXPECT_EQ(cpu.ledger(), plan);
  if (!has_interleaved(cpu)) GTEST_SKIP() << cpu.instruction_set() << " has no kernels for interleaved weights";
  EXPECT_EQ(plan, (MemoryUse{.resident_bytes = q8.size()}));
  EXPECT_EQ(layer.store().parts()[0].bytes.size(), 0u);
  EXPECT_EQ(layer.store().parts()[0].rows, 64u);
  source.reset();  // nothing of it is needed any more
  std::vector<std::byte> bytes(q8.size());
  ASSERT_TRUE(layer.store().export_part(0, bytes));
  EXPECT_EQ(bytes, q8);
  EXPECT_TRUE(layer.verify().value().passed);
}

TEST_F(InterleavedStore, ExplainsWhatStayedAsInTheFile) {
  const CpuBackend cpu;
  const Layer layer = Layer::from_gguf_fused(cpu, parts(), kColumns, kInterleaved).value();
  const Explanation e = layer.explain(1);
  if (!has_interleaved(cpu)) {
    EXPECT_NE(e.parts[0].reason.find("no such kernels of Q4_K"), std::string::npos) << e.parts[0].reason;
    return;
  }
  EXPECT_NE(e.parts[0].path.find("interleaved"), std::string::npos) << e.parts[0].path;
  EXPECT_EQ(e.parts[0].reason, "");
  EXPECT_EQ(e.parts[2].reason, "not interleaved: 9 rows, at least 16 are needed");
  EXPECT_NE(e.parts[3].reason.find("no such kernels of IQ2_XS"), std::string::npos) << e.parts[3].reason;
  const Layer exact =
      Layer::from_gguf_fused(cpu, parts(), kColumns, {.precision = Precision::f32, .layout = StoreLayout::interleaved})
          .value();
  EXPECT_EQ(exact.explain(1).parts[0].reason, "not interleaved: the precision is not a8");
}

TEST_F(InterleavedStore, TakesLayersWithoutWeights) {
  const CpuBackend cpu;
  const QuantPart empty{Kind::Q4_K, QuantBytes(), 32, std::vector<float>(32, 2.0f)};
  const Result<Layer> layer = Layer::from_gguf_fused(cpu, {&empty, 1}, 0, kInterleaved);
  const Result<Layer> plain = Layer::from_gguf_fused(cpu, {&empty, 1}, 0, kAsInFile);
  ASSERT_EQ(layer.has_value(), plain.has_value());
  if (!layer) return;
  EXPECT_EQ(layer->explain(1).parts[0].reason, "not interleaved: there are no weights");
  std::vector<float> y(32);
  auto ctx = cpu.new_context().value();
  ASSERT_TRUE(layer->forward(ctx, std::span<const float>(), y, 1));
  EXPECT_EQ(y, std::vector<float>(32, 2.0f));
}

TEST_F(InterleavedStore, WorksThroughAnyBackend) {
  const AnyBackend any(CpuBackend{});
  const auto layer = QuantLinear<AnyBackend>::from_gguf_fused(any, parts(), kColumns, kInterleaved).value();
  std::vector<std::byte> bytes(q4.size());
  ASSERT_TRUE(layer.store().export_part(0, bytes));
  EXPECT_EQ(bytes, q4);
  const auto report = layer.verify().value();
  EXPECT_TRUE(report.passed);
}

}  // namespace
}  // namespace quantlinear
