// Row bits do not depend on how the work is cut: fused or alone, split by output rows, any number of
// threads, any order of tasks, any instruction set, any m (past 512 rows a forward runs in pieces).
#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
using Layer = QuantLinear<CpuBackend>;
constexpr std::uint64_t kColumns = 512;
constexpr std::uint64_t kRowCounts[] = {1, 3, 9, 40, 600};

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values) result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

QuantPart part(Kind kind, std::uint64_t rows, std::uint32_t seed, bool bias) {
  return {kind, QuantBytes::own(test::random_weights(kind, rows, kColumns, seed)), rows,
          bias ? test::random_activations(rows, seed + 100) : std::vector<float>{}};
}

/// Mixed kinds, odd numbers of rows, some with bias; one part is empty.
const std::vector<QuantPart>& mixed() {
  static const std::vector<QuantPart> parts = {part(Kind::Q4_K, 37, 1, true), part(Kind::Q6_K, 19, 2, false),
                                               part(Kind::Q8_0, 5, 3, true),  part(Kind::Q4_K, 0, 4, false),
                                               part(Kind::F32, 67, 5, false), part(Kind::IQ4_XS, 11, 6, true)};
  return parts;
}

const std::vector<float>& activations() {
  static const std::vector<float> x = test::random_activations(600 * kColumns, 7);
  return x;
}

std::vector<float> forward(const Layer& layer, std::uint64_t m) {
  auto ctx = layer.backend().new_context().value();
  std::vector<float> y(m * layer.out_features());
  EXPECT_TRUE(layer.forward(ctx, std::span(activations()).first(m * kColumns), y, m));
  return y;
}

/// Columns [first, first + count) of y [m, width].
std::vector<float> columns(std::span<const float> y, std::uint64_t m, std::uint64_t width, std::uint64_t first,
                           std::uint64_t count) {
  std::vector<float> result;
  for (std::uint64_t i = 0; i < m; ++i) {
    const auto row = y.subspan(i * width + first, count);
    result.insert(result.end(), row.begin(), row.end());
  }
  return result;
}

std::vector<std::string> usable() {
  std::vector<std::string> names;
  for (const InstructionSetInfo& isa : CpuBackend::instruction_sets()) {
    if (isa.usable) names.emplace_back(isa.name);
  }
  return names;
}

/// A setting to run under: instruction set and precision.
class Cuts : public testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  [[nodiscard]] static CpuBackend backend(std::size_t threads, std::shared_ptr<Executor> executor = {}) {
    CpuOptions options;
    options.instruction_set = std::get<0>(GetParam());
    options.precision = std::get<1>(GetParam());
    options.threads.threads = threads;
    options.executor = std::move(executor);
    return CpuBackend(options);
  }
  [[nodiscard]] static Layer fused(const CpuBackend& cpu) {
    return Layer::from_gguf_fused(cpu, mixed(), kColumns).value();
  }
};

TEST_P(Cuts, FusedPartsEqualSeparateLayers) {
  const CpuBackend cpu = backend(2);
  const Layer all = fused(cpu);
  for (const std::uint64_t m : kRowCounts) {
    const std::vector<float> y = forward(all, m);
    std::uint64_t first = 0;
    for (const QuantPart& p : mixed()) {
      const auto alone = Layer::from_gguf_bytes(cpu, p.kind, p.bytes, p.rows, kColumns, {}, p.bias).value();
      EXPECT_EQ(bits(columns(y, m, all.out_features(), first, p.rows)), bits(forward(alone, m)))
          << "m " << m << ", " << to_string(p.kind) << " of " << p.rows << " rows";
      first += p.rows;
    }
  }
}

TEST_P(Cuts, ARowHasTheSameBitsForEveryM) {
  const Layer layer = fused(backend(1));
  const std::vector<float> most = forward(layer, 600);
  for (const std::uint64_t m : {1U, 3U, 9U, 40U, 513U}) {
    EXPECT_EQ(bits(forward(layer, m)), bits(std::span(most).first(m * layer.out_features()))) << "m " << m;
  }
}

/// Runs the tasks on the calling thread, last one first.
class Backwards final : public Executor {
 public:
  [[nodiscard]] std::size_t concurrency() const noexcept override { return 3; }
  void run(std::size_t count, TaskRef task) noexcept override {
    most_ = std::max(most_, count);
    for (std::size_t i = count; i-- != 0;) task(i);
  }
  [[nodiscard]] std::size_t most_tasks() const { return most_; }

 private:
  std::size_t most_ = 0;
};

TEST_P(Cuts, ThreadsAndTheOrderOfTasksDoNotMatter) {
  const auto backwards = std::make_shared<Backwards>();
  const Layer one = fused(backend(1)), two = fused(backend(2)), five = fused(backend(5)),
              reversed = fused(backend(0, backwards));
  EXPECT_EQ(one.explain(9).threads, 1u);
  EXPECT_EQ(two.explain(9).threads, 2u);
  EXPECT_EQ(five.explain(9).threads, 5u) << "too small a layer to be shared out: the test would show nothing";
  for (const std::uint64_t m : kRowCounts) {
    const std::vector<std::uint32_t> expected = bits(forward(one, m));
    EXPECT_EQ(bits(forward(two, m)), expected) << "m " << m;
    EXPECT_EQ(bits(forward(five, m)), expected) << "m " << m;
    EXPECT_EQ(bits(forward(reversed, m)), expected) << "m " << m;
  }
  EXPECT_EQ(backwards->most_tasks(), 3u);
}

TEST_P(Cuts, ASplitByOutputRowsGivesTheSameBits) {
  const CpuBackend cpu = backend(2);
  for (const QuantTypeInfo& type : quant_types()) {
    const QuantPart whole = part(type.type, 41, 9, true);
    const std::vector<float> y =
        forward(Layer::from_gguf_bytes(cpu, whole.kind, whole.bytes, 41, kColumns, {}, whole.bias).value(), 9);
    const std::uint64_t row = row_bytes(type.type, kColumns).value();
    for (const auto& [first, count] : {std::pair<std::uint64_t, std::uint64_t>{0, 22}, {22, 19}}) {
      const auto half = Layer::from_gguf_bytes(
                            cpu, whole.kind, QuantBytes::borrow(whole.bytes.bytes().subspan(first * row, count * row)),
                            count, kColumns, {}, std::span(whole.bias).subspan(first, count))
                            .value();
      EXPECT_EQ(bits(forward(half, 9)), bits(columns(y, 9, 41, first, count))) << type.name << " from row " << first;
    }
  }
}

TEST(CutsAcross, InstructionSetsGiveTheSameBits) {
  for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
    std::vector<std::uint32_t> expected;
    for (const std::string& name : usable()) {
      CpuOptions options;
      options.instruction_set = name;
      options.precision = precision;
      const Layer layer = Layer::from_gguf_fused(CpuBackend(options), mixed(), kColumns).value();
      const std::vector<std::uint32_t> found = bits(forward(layer, 40));
      if (expected.empty()) expected = found;
      EXPECT_EQ(found, expected) << name << " " << to_string(precision);
    }
  }
}

TEST(CutsAcross, PrecisionsDiffer) {
  // If they gave equal bits, the option would do nothing and the tests above would run one kernel thrice.
  std::vector<std::vector<std::uint32_t>> found;
  for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
    found.push_back(bits(forward(Layer::from_gguf_fused(CpuBackend(), mixed(), kColumns, {precision}).value(), 1)));
  }
  EXPECT_NE(found[0], found[1]);
  EXPECT_NE(found[1], found[2]);
}

INSTANTIATE_TEST_SUITE_P(Every, Cuts,
                         testing::Combine(testing::ValuesIn(usable()),
                                          testing::Values(Precision::f32, Precision::a16, Precision::a8)),
                         [](const auto& cut) {
                           return std::get<0>(cut.param) + "_" + std::string(to_string(std::get<1>(cut.param)));
                         });

}  // namespace
}  // namespace quantlinear
