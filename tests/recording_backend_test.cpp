// The library over a backend that defers its work: nothing happens before the flush, then exactly what
// was asked for; and AnyBackend around it, which lets no foreign object through.
#include "recording_backend.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <optional>
#include <type_traits>

#include "quantlinear/any_backend.hpp"
#include "quantlinear/linear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
using test::RecordingBackend;

// A layer can be copied where its store can, and moves without an exception where both parts do.
static_assert(std::is_copy_constructible_v<QuantLinear<RecordingBackend>>);
static_assert(std::is_copy_assignable_v<QuantLinear<RecordingBackend>>);
static_assert(!std::is_copy_constructible_v<QuantLinear<CpuBackend>>);
static_assert(!std::is_copy_assignable_v<QuantLinear<CpuBackend>>);
static_assert(std::is_nothrow_move_assignable_v<QuantLinear<CpuBackend>>);
static_assert(std::is_nothrow_move_assignable_v<QuantLinear<AnyBackend>>);
constexpr float kUntouched = -7.25f;

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values) result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

template <class B>
typename B::Buffer device(const B& backend, std::span<const float> values) {
  auto buffer = backend.allocate(values.size()).value();
  EXPECT_TRUE(backend.upload(values, buffer));
  return buffer;
}

/// What is in the buffer now: a context without work does not flush the others.
template <class B>
std::vector<float> peek(const B& backend, const typename B::Buffer& buffer, std::size_t count) {
  auto idle = backend.new_context().value();
  std::vector<float> values(count);
  EXPECT_TRUE(backend.download(idle, buffer, values));
  return values;
}

const std::vector<QuantPart>& parts() {
  static const std::vector<QuantPart> list = {
      {Kind::Q4_K, QuantBytes::own(test::random_weights(Kind::Q4_K, 13, 512, 1)), 13, test::random_activations(13, 2)},
      {Kind::IQ3_XXS, QuantBytes::own(test::random_weights(Kind::IQ3_XXS, 5, 512, 3)), 5}};
  return list;
}
const std::vector<float>& activations() {
  static const std::vector<float> x = test::random_activations(4 * 512, 5);
  return x;
}
std::vector<float> reference() {
  const ReferenceBackend backend;
  const auto layer = QuantLinear<ReferenceBackend>::from_gguf_fused(backend, parts(), 512).value();
  auto ctx = backend.new_context().value();
  std::vector<float> y(4 * 18);
  EXPECT_TRUE(layer.forward(ctx, activations(), y, 4));
  return y;
}

/// Records a forward, checks that nothing happened, flushes, compares with the reference.
template <class B>
void expect_deferred_and_equal(const B& backend) {
  const auto layer = QuantLinear<B>::from_gguf_fused(backend, parts(), 512).value();
  auto ctx = backend.new_context().value();
  const auto x = device(backend, activations());
  auto y = device(backend, std::vector<float>(4 * 18, kUntouched));
  ASSERT_TRUE(layer.forward(ctx, x, y, 4));
  EXPECT_EQ(peek(backend, y, 4 * 18), std::vector<float>(4 * 18, kUntouched)) << "written before the flush";
  ASSERT_TRUE(ctx.flush());
  EXPECT_EQ(bits(peek(backend, y, 4 * 18)), bits(reference()));
}

TEST(RecordingBackend, DefersAndEqualsTheReference) { expect_deferred_and_equal(RecordingBackend()); }
TEST(RecordingBackend, DefersAndEqualsTheReferenceInsideAnyBackend) {
  const AnyBackend any{RecordingBackend()};
  EXPECT_EQ(any.name(), "recording");
  expect_deferred_and_equal(any);
}

TEST(RecordingBackend, DownloadWaitsForItsContext) {
  const RecordingBackend backend;
  const auto layer = QuantLinear<RecordingBackend>::from_gguf_fused(backend, parts(), 512).value();
  auto ctx = backend.new_context().value();
  const auto x = device(backend, activations());
  auto y = device(backend, std::vector<float>(4 * 18));
  ASSERT_TRUE(layer.forward(ctx, x, y, 4));
  EXPECT_EQ(ctx.pending(), 1u);
  std::vector<float> values(4 * 18);
  ASSERT_TRUE(backend.download(ctx, y, values));
  EXPECT_EQ(ctx.pending(), 0u);
  EXPECT_EQ(bits(values), bits(reference()));
}

TEST(RecordingBackend, AChainOfLayersRunsInOrderOnOneFlush) {
  const std::vector<std::byte> down = test::random_weights(Kind::Q8_0, 64, 512, 7),
                               up = test::random_weights(Kind::F16, 9, 64, 8);
  const auto run = [&](const auto& backend) {
    using B = std::remove_cvref_t<decltype(backend)>;
    const auto first = QuantLinear<B>::from_gguf_bytes(backend, Kind::Q8_0, QuantBytes::borrow(down), 64, 512).value();
    const auto second = QuantLinear<B>::from_gguf_bytes(backend, Kind::F16, QuantBytes::borrow(up), 9, 64).value();
    auto ctx = backend.new_context().value();
    const auto x = device(backend, activations());
    auto middle = backend.allocate(4 * 64).value();
    auto y = backend.allocate(4 * 9).value();
    EXPECT_TRUE(first.forward(ctx, x, middle, 4));
    EXPECT_TRUE(second.forward(ctx, middle, y, 4));
    EXPECT_TRUE(ctx.flush());
    return peek(backend, y, 4 * 9);
  };
  const std::vector<float> expected = run(ReferenceBackend());
  EXPECT_NE(expected, std::vector<float>(4 * 9));
  EXPECT_EQ(bits(run(RecordingBackend())), bits(expected));
  EXPECT_EQ(bits(run(AnyBackend(RecordingBackend()))), bits(expected));
}

TEST(RecordingBackend, RowIdsAreCopiedAndErrorsRecordNothing) {
  const RecordingBackend backend;
  auto made = QuantLinear<RecordingBackend>::from_gguf_fused(backend, parts(), 512).value();
  auto ctx = backend.new_context().value();
  const auto x = device(backend, activations());
  auto y = device(backend, std::vector<float>(2 * 512, kUntouched));
  EXPECT_FALSE(made.forward(ctx, x, y, 5));
  EXPECT_FALSE(made.get_rows(ctx, std::vector<std::uint64_t>{18}, y));
  EXPECT_EQ(ctx.pending(), 0u);

  std::vector<std::uint64_t> ids = {14, 0};
  ASSERT_TRUE(made.get_rows(ctx, ids, y));
  ids = {1, 1};
  {
    const auto moved_and_gone = std::move(made);
  }  // the recorded work keeps the weights
  const auto moved = std::move(y);
  ASSERT_TRUE(ctx.flush());
  std::vector<float> expected(2 * 512), iq3(5 * 512), q4(13 * 512);
  ASSERT_TRUE(dequantize(Kind::Q4_K, parts()[0].bytes.bytes(), q4));
  ASSERT_TRUE(dequantize(Kind::IQ3_XXS, parts()[1].bytes.bytes(), iq3));
  std::copy_n(iq3.begin() + 512, 512, expected.begin());
  std::copy_n(q4.begin(), 512, expected.begin() + 512);
  EXPECT_EQ(bits(peek(backend, moved, 2 * 512)), bits(expected));
}

TEST(RecordingBackend, VerifyExplainAndLedgerWorkThroughIt) {
  const RecordingBackend recording;
  const AnyBackend any(recording);
  {
    const auto layer = QuantLinear<AnyBackend>::from_gguf_fused(any, parts(), 512).value();
    const VerifyReport report = layer.verify().value();
    EXPECT_TRUE(report.passed);
    EXPECT_EQ(report.precision, Precision::f32);
    EXPECT_EQ(report.results.size(), 3u);
    EXPECT_EQ(layer.explain(2).backend, "recording");
    EXPECT_EQ(any.ledger(), any.memory_plan(parts(), 512, 2).value());
    EXPECT_EQ(recording.ledger(), any.ledger()) << "a wrapped handle is still the same backend";
    EXPECT_NE(any.ledger(), MemoryUse{});
  }
  EXPECT_EQ(any.ledger(), MemoryUse{});
}

/// One of everything that a backend makes.
struct Objects {
  explicit Objects(const AnyBackend& backend)
      : ctx(backend.new_context().value()),
        x(device(backend, activations())),
        y(device(backend, std::vector<float>(4 * 512, kUntouched))),
        store(backend.load_quant_fused(parts(), 512).value()) {}
  AnyBackend::Context ctx;
  AnyBackend::Buffer x, y;
  AnyBackend::QuantStore store;
};

void expect_refused(const Status& status, const char* what, const char* why) {
  ASSERT_FALSE(status) << "accepted, expected an error about " << what;
  EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(status.error().message.starts_with(what)) << status.error().message;
  EXPECT_NE(status.error().message.find(why), std::string::npos) << status.error().message;
}

/// Puts each object of `bad` in turn into calls whose other objects are `good`.
void expect_each_refused(const AnyBackend& backend, Objects& good, Objects& bad, const char* why) {
  const std::vector<std::uint64_t> ids = {0};
  std::vector<float> values(4);
  expect_refused(backend.gemm_quant(bad.ctx, good.x, good.store, good.y, 1), "ctx", why);
  expect_refused(backend.gemm_quant(good.ctx, bad.x, good.store, good.y, 1), "input", why);
  expect_refused(backend.gemm_quant(good.ctx, good.x, bad.store, good.y, 1), "store", why);
  expect_refused(backend.gemm_quant(good.ctx, good.x, good.store, bad.y, 1), "out", why);
  expect_refused(backend.get_rows(bad.ctx, good.store, ids, good.y), "ctx", why);
  expect_refused(backend.get_rows(good.ctx, bad.store, ids, good.y), "store", why);
  expect_refused(backend.get_rows(good.ctx, good.store, ids, bad.y), "out", why);
  expect_refused(backend.upload(values, bad.y), "buffer", why);
  expect_refused(backend.download(bad.ctx, good.y, values), "ctx", why);
  expect_refused(backend.download(good.ctx, bad.y, values), "buffer", why);
  EXPECT_TRUE(backend.explain(bad.store, 1).parts.empty());
  EXPECT_TRUE(good.ctx.flush());
  EXPECT_EQ(peek(backend, good.y, 4 * 512), std::vector<float>(4 * 512, kUntouched)) << "a refused call did something";
}

TEST(AnyBackend, RefusesObjectsOfAnotherBackend) {
  const AnyBackend recording{RecordingBackend()}, cpu{CpuBackend()}, same_type{RecordingBackend()};
  for (const AnyBackend* other : {&cpu, &same_type}) {
    Objects good(recording), bad(*other);
    expect_each_refused(recording, good, bad, "made by another backend");
  }
}

TEST(AnyBackend, RefusesMovedFromObjects) {
  const AnyBackend any{RecordingBackend()};
  Objects good(any), bad(any);
  const Objects taken(std::move(bad));
  expect_each_refused(any, good, bad, "moved from");
}

TEST(AnyBackend, AcceptsObjectsOfItsCopies) {
  const AnyBackend any{RecordingBackend()};
  Objects of_copy{AnyBackend(any)};
  ASSERT_TRUE(any.gemm_quant(of_copy.ctx, of_copy.x, of_copy.store, of_copy.y, 4));
  ASSERT_TRUE(of_copy.ctx.flush());
  std::vector<float> y = peek(any, of_copy.y, 4 * 18);
  EXPECT_EQ(bits(y), bits(reference()));
}

TEST(MakeBackend, KnowsItsNames) {
  EXPECT_EQ(make_backend("cpu").value().name(), "cpu");
  EXPECT_EQ(make_backend("reference").value().name(), "reference");
  const auto unknown = make_backend("tpu");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::not_found);
  for (const char* word : {"tpu", "cpu", "reference"}) EXPECT_NE(unknown.error().message.find(word), std::string::npos);
  CpuOptions impossible;
  impossible.instruction_set = "avx9000";
  EXPECT_EQ(make_backend("cpu", impossible).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace quantlinear
