// Activations prepared once for several layers: the bits of a forward from the raw rows, for every type
// and precision; and everything that does not fit together is refused.
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "quantlinear/quantlinear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
using Layer = QuantLinear<CpuBackend>;
using Prepared = CpuBackend::PreparedInput;
constexpr std::uint64_t kColumns = 512;
constexpr std::uint64_t kRowCounts[] = {1, 9, 600};
constexpr float kUntouched = -7.25f;

static_assert(std::is_move_constructible_v<Prepared> && !std::is_copy_constructible_v<Prepared>);
static_assert(PreparedInputOf<Prepared, CpuBackend>);
static_assert(!PreparedInputOf<Prepared, ReferenceBackend> && !PreparedInputOf<Prepared, AnyBackend>);

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values) result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

QuantPart part(Kind kind, std::uint64_t rows, std::uint64_t columns = kColumns, bool bias = true) {
  return {kind, QuantBytes::own(test::random_weights(kind, rows, columns, 3)), rows,
          bias ? test::random_activations(rows, 5) : std::vector<float>{}};
}

/// 600 rows; the fourth holds a NaN and the last an infinity.
const std::vector<float>& activations() {
  static const std::vector<float> x = [] {
    std::vector<float> values = test::random_activations(600 * kColumns, 7);
    values[3 * kColumns + 99] = std::numeric_limits<float>::quiet_NaN();
    values[599 * kColumns] = std::numeric_limits<float>::infinity();
    return values;
  }();
  return x;
}

std::span<const float> rows(std::uint64_t m) { return std::span(activations()).first(m * kColumns); }

std::vector<std::uint32_t> from_rows(const Layer& layer, std::uint64_t m) {
  auto ctx = layer.backend().new_context().value();
  std::vector<float> y(m * layer.out_features());
  EXPECT_TRUE(layer.forward(ctx, rows(m), y, m));
  return bits(y);
}

std::vector<std::uint32_t> from_prepared(const Layer& layer, const Prepared& prepared) {
  auto ctx = layer.backend().new_context().value();
  std::vector<float> y(prepared.rows() * layer.out_features());
  const Status done = layer.forward(ctx, prepared, y);
  EXPECT_TRUE(done) << done.error().message;
  return bits(y);
}

/// An invalid_argument whose message has all of `words`.
template <class R>
void expect_refused(const R& result, std::initializer_list<const char*> words) {
  ASSERT_FALSE(result.has_value()) << "accepted, expected an error with " << *words.begin();
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument) << result.error().message;
  for (const char* word : words)
    EXPECT_NE(result.error().message.find(word), std::string::npos) << result.error().message << " lacks " << word;
}

class EverySet : public testing::TestWithParam<std::string_view> {
 protected:
  [[nodiscard]] static CpuBackend backend(Precision precision) {
    CpuOptions options;
    options.instruction_set = GetParam();
    options.precision = precision;
    options.threads.threads = 2;
    return CpuBackend(options);
  }
};

TEST_P(EverySet, OneInputServesLayersOfAllTypesWithTheBitsOfTheRawRows) {
  for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
    const CpuBackend cpu = backend(precision);
    std::vector<Layer> layers;
    for (const QuantTypeInfo& type : quant_types())
      layers.push_back(Layer::from_gguf_fused(cpu, std::vector{part(type.type, 37)}, kColumns).value());
    const std::vector<QuantPart> mixed = {part(Kind::Q4_K, 33), part(Kind::Q8_0, 0), part(Kind::F16, 5),
                                          part(Kind::IQ4_XS, 70, kColumns, false)};
    layers.push_back(Layer::from_gguf_fused(cpu, mixed, kColumns).value());
    std::vector<const CpuBackend::QuantStore*> stores;
    for (const Layer& layer : layers) stores.push_back(&layer.store());
    for (const std::uint64_t m : kRowCounts) {
      const auto prepared = cpu.prepare(rows(m), m, stores);
      ASSERT_TRUE(prepared) << prepared.error().message;
      EXPECT_EQ(prepared->rows(), m);
      EXPECT_EQ(prepared->in_features(), kColumns);
      for (const Layer& layer : layers) {
        EXPECT_EQ(from_prepared(layer, *prepared), from_rows(layer, m))
            << to_string(layer.store().parts()[0].kind) << " " << to_string(precision) << " m " << m;
      }
    }
  }
}

std::vector<std::string_view> usable() {
  std::vector<std::string_view> names;
  for (const InstructionSetInfo& isa : CpuBackend::instruction_sets()) {
    if (isa.usable) names.push_back(isa.name);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(PreparedInput, EverySet, testing::ValuesIn(usable()),
                         [](const auto& set) { return std::string(set.param); });

class PreparedInput : public testing::Test {
 protected:
  const CpuBackend cpu;
  const Layer q4 = Layer::from_gguf_fused(cpu, std::vector{part(Kind::Q4_K, 19)}, kColumns).value();
  const Layer q8 = Layer::from_gguf_fused(cpu, std::vector{part(Kind::Q8_0, 40)}, kColumns).value();
};

TEST_F(PreparedInput, StridedViewsAndAnInputThatIsGone) {
  constexpr std::size_t kInStride = 600, kOutStride = 50, kRows = 9;
  std::optional<std::vector<float>> wide(std::in_place, kRows * kInStride, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < kRows; ++i)
    std::ranges::copy(rows(kRows).subspan(i * kColumns, kColumns),
                      wide->begin() + static_cast<std::ptrdiff_t>(i * kInStride));
  const Prepared prepared = cpu.prepare({*wide, kInStride}, kRows, {&q4.store(), &q8.store()}).value();
  std::ranges::fill(*wide, 0.0f);
  wide.reset();
  auto ctx = cpu.new_context().value();
  std::vector<float> out(kRows * kOutStride, kUntouched), raw(out);
  ASSERT_TRUE(q8.forward(ctx, prepared, {std::span(out).subspan(3), kOutStride}));
  ASSERT_TRUE(q8.forward(ctx, rows(kRows), {std::span(raw).subspan(3), kOutStride}, kRows));
  EXPECT_EQ(bits(out), bits(raw));
}

TEST_F(PreparedInput, MemoryIsInTheLedgerWhileItLives) {
  const MemoryUse before = cpu.ledger();
  {
    const Prepared one = cpu.prepare(rows(9), 9, {&q4.store()}).value();
    const MemoryUse of_one = cpu.ledger();
    EXPECT_GE(of_one.transient_bytes - before.transient_bytes, 9 * kColumns);
    const Prepared two = cpu.prepare(rows(9), 9, {&q4.store(), &q8.store(), &q4.store()}).value();
    EXPECT_GE(cpu.ledger().transient_bytes - of_one.transient_bytes, 2 * 9 * kColumns);
  }
  EXPECT_EQ(cpu.ledger(), before);
}

TEST_F(PreparedInput, ItOutlivesItsBackendAndServesAnotherOfTheSameSet) {
  std::optional<Prepared> prepared;
  {
    const CpuBackend other;
    const Layer layer = Layer::from_gguf_fused(other, std::vector{part(Kind::Q4_K, 1)}, kColumns).value();
    prepared.emplace(other.prepare(rows(9), 9, {&layer.store()}).value());
  }
  EXPECT_EQ(from_prepared(q4, *prepared), from_rows(q4, 9));
}

TEST_F(PreparedInput, NothingToDoSucceeds) {
  auto ctx = cpu.new_context().value();
  const Prepared none = cpu.prepare({}, 0, {&q4.store()}).value();
  EXPECT_EQ(none.rows(), 0u);
  EXPECT_TRUE(q4.forward(ctx, none, std::span<float>()));
  EXPECT_TRUE(q8.forward(ctx, none, std::span<float>())) << "no rows need no preparation";
  const Layer no_rows = Layer::from_gguf_fused(cpu, std::vector{part(Kind::Q4_K, 0)}, kColumns).value();
  const Prepared some = cpu.prepare(rows(2), 2, {&no_rows.store()}).value();
  EXPECT_TRUE(no_rows.forward(ctx, some, std::span<float>()));
  const Layer no_columns = Layer::from_gguf_bytes(cpu, Kind::F32, {}, 2, 0, {}, std::vector{1.0f, 2.0f}).value();
  std::vector<float> y(4);
  ASSERT_TRUE(no_columns.forward(ctx, cpu.prepare({}, 2, {&no_columns.store()}).value(), y));
  EXPECT_EQ(y, (std::vector<float>{1, 2, 1, 2}));
}

TEST_F(PreparedInput, WrongPreparationsAreRefused) {
  const Layer narrow = Layer::from_gguf_fused(cpu, std::vector{part(Kind::Q8_0, 4, 64)}, 64).value();
  expect_refused(cpu.prepare(rows(1), 1, std::span<const CpuBackend::QuantStore* const>()), {"stores", "empty"});
  expect_refused(cpu.prepare(rows(1), 1, {&q4.store(), nullptr}), {"stores[1]", "null"});
  expect_refused(cpu.prepare(rows(1), 1, {&q4.store(), &narrow.store()}), {"stores[1]", "found 64", "expected 512"});
  expect_refused(cpu.prepare(rows(1), 2, {&q4.store()}), {"input", "holds 512", "1024"});
  expect_refused(cpu.prepare({rows(2), 511}, 2, {&q4.store()}), {"input", "stride 511", "512"});
  expect_refused(cpu.prepare(rows(1), std::uint64_t{1} << 62, {&q4.store()}), {"input", "overflow"});
  CpuOptions options;
  options.instruction_set = "avx9000";
  EXPECT_FALSE(CpuBackend(options).prepare(rows(1), 1, {&q4.store()}));
}

TEST_F(PreparedInput, WrongUsesAreRefusedAndWriteNothing) {
  const Layer narrow = Layer::from_gguf_fused(cpu, std::vector{part(Kind::Q8_0, 4, 64)}, 64).value();
  const Layer exact =
      Layer::from_gguf_fused(cpu, std::vector{part(Kind::Q4_K, 4)}, kColumns, {.precision = Precision::f32}).value();
  auto ctx = cpu.new_context().value();
  std::vector<float> y(3 * 40, kUntouched);
  Prepared prepared = cpu.prepare(rows(3), 3, {&q4.store()}).value();
  expect_refused(narrow.forward(ctx, prepared, y), {"prepared input", "found rows of 512", "expected 64"});
  expect_refused(q8.forward(ctx, prepared, y), {"prepared input", "found ", "per 256", "expected ", "per 32", "Q8_0"});
  expect_refused(exact.forward(ctx, prepared, y), {"prepared input", "found ", "expected f32", "Q4_K"});
  expect_refused(q4.forward(ctx, prepared, std::span(y).first(56)), {"out", "holds 56", "57"});
  expect_refused(q4.forward(ctx, prepared, {y, 18}), {"out", "stride 18", "19"});
  const Prepared taken = std::move(prepared);
  expect_refused(q4.forward(ctx, prepared, y), {"prepared input", "moved from"});  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(prepared.rows(), 0u);                                                  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(bits(y), bits(std::vector<float>(3 * 40, kUntouched)));
  EXPECT_EQ(from_prepared(q4, taken), from_rows(q4, 3));
}

TEST_F(PreparedInput, ManyThreadsReadOneAtOnce) {
  const Prepared prepared = cpu.prepare(rows(40), 40, {&q4.store(), &q8.store()}).value();
  const Layer* layers[] = {&q4, &q8, &q4};
  std::vector<std::vector<std::uint32_t>> found(std::size(layers));
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < std::size(layers); ++t) {
      threads.emplace_back([&, t] {
        for (int round = 0; round < 10; ++round) found[t] = from_prepared(*layers[t], prepared);
      });
    }
  }
  for (std::size_t t = 0; t < std::size(layers); ++t) EXPECT_EQ(found[t], from_rows(*layers[t], 40));
}

}  // namespace
}  // namespace quantlinear
