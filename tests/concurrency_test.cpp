// One layer, many threads, each with its own context: the same bits as alone. Meant to run under
// ThreadSanitizer as well.
#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "quantlinear/any_backend.hpp"
#include "quantlinear/linear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
using Layer = QuantLinear<CpuBackend>;
constexpr std::uint64_t kColumns = 512, kRows = 160 + 33;
constexpr std::uint64_t kRowCounts[] = {1, 7, 2, 40, 4};
constexpr std::size_t kThreads = 8, kRounds = 12;

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values) result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

const std::vector<QuantPart>& parts() {
  static const std::vector<QuantPart> list = {
      {Kind::Q8_0, QuantBytes::own(test::random_weights(Kind::Q8_0, 160, kColumns, 1)), 160,
       test::random_activations(160, 2)},
      {Kind::Q4_K, QuantBytes::own(test::random_weights(Kind::Q4_K, 33, kColumns, 3)), 33}};
  return list;
}

const std::vector<float>& activations() {
  static const std::vector<float> x = test::random_activations(40 * kColumns, 4);
  return x;
}

/// The results for every m of kRowCounts, from a backend without threads.
const std::vector<std::vector<std::uint32_t>>& expected() {
  static const auto results = [] {
    CpuOptions options;
    options.threads.threads = 1;
    const Layer layer = Layer::from_gguf_fused(CpuBackend(options), parts(), kColumns).value();
    auto ctx = layer.backend().new_context().value();
    std::vector<std::vector<std::uint32_t>> all;
    for (const std::uint64_t m : kRowCounts) {
      std::vector<float> y(m * kRows);
      EXPECT_TRUE(layer.forward(ctx, activations(), y, m));
      all.push_back(bits(y));
    }
    return all;
  }();
  return results;
}

/// Calls body(thread) on kThreads threads that start together.
void on_many_threads(const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> ready{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ++ready;
      while (ready.load() != kThreads) std::this_thread::yield();
      body(t);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// kRounds forwards in a context of the calling thread.
void expect_same_bits(const Layer& layer, std::size_t first) {
  auto ctx = layer.backend().new_context().value();
  for (std::size_t round = 0; round < kRounds; ++round) {
    const std::size_t which = (first + round) % std::size(kRowCounts);
    std::vector<float> y(kRowCounts[which] * kRows);
    ASSERT_TRUE(layer.forward(ctx, activations(), y, kRowCounts[which]));
    ASSERT_EQ(bits(y), expected()[which]) << "m " << kRowCounts[which];
  }
}

CpuBackend with_threads(std::size_t threads) {
  CpuOptions options;
  options.threads.threads = threads;
  return CpuBackend(options);
}

TEST(Concurrency, OneLayerManyThreadsDefaultPool) {
  (void)expected();
  for (const std::size_t threads : {1u, 3u}) {
    const Layer layer = Layer::from_gguf_fused(with_threads(threads), parts(), kColumns).value();
    ASSERT_EQ(layer.explain(7).threads, threads);
    on_many_threads([&](std::size_t t) { expect_same_bits(layer, t); });
  }
}

/// The caller's own threads: one new thread per task, as different from the pool as can be.
class ThreadPerTask final : public Executor {
 public:
  [[nodiscard]] std::size_t concurrency() const noexcept override { return 3; }
  void run(std::size_t count, TaskRef task) noexcept override {
    ++runs_;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back([task, i] { task(i); });
    for (std::thread& thread : threads) thread.join();
  }
  [[nodiscard]] std::size_t runs() const { return runs_.load(); }

 private:
  std::atomic<std::size_t> runs_{0};
};

TEST(Concurrency, OneLayerManyThreadsCallersExecutor) {
  (void)expected();
  const auto executor = std::make_shared<ThreadPerTask>();
  CpuOptions options;
  options.executor = executor;
  const Layer layer = Layer::from_gguf_fused(CpuBackend(options), parts(), kColumns).value();
  on_many_threads([&](std::size_t t) { expect_same_bits(layer, t); });
  EXPECT_GE(executor->runs(), kThreads * kRounds / 2);
}

TEST(Concurrency, LayersComeAndGoWhileOthersRun) {
  (void)expected();
  const CpuBackend cpu = with_threads(3);
  {
    const Layer lasting = Layer::from_gguf_fused(cpu, parts(), kColumns).value();
    on_many_threads([&](std::size_t t) {
      if (t % 2 == 0) return expect_same_bits(lasting, t);
      for (int i = 0; i < 4; ++i) expect_same_bits(Layer::from_gguf_fused(cpu, parts(), kColumns).value(), t);
    });
  }
  EXPECT_EQ(cpu.ledger(), MemoryUse{}) << "the ledger lost count";
}

TEST(Concurrency, RowsAndForwardsTogetherThroughAnyBackend) {
  (void)expected();
  const AnyBackend any(with_threads(2));
  const auto layer = QuantLinear<AnyBackend>::from_gguf_fused(any, parts(), kColumns).value();
  std::vector<float> q4(33 * kColumns);
  ASSERT_TRUE(dequantize(Kind::Q4_K, parts()[1].bytes.bytes(), q4));
  auto x = any.allocate(activations().size()).value();
  ASSERT_TRUE(any.upload(activations(), x));
  on_many_threads([&](std::size_t t) {
    auto ctx = any.new_context().value();
    auto out = any.allocate(7 * kRows).value();
    for (std::size_t round = 0; round < kRounds; ++round) {
      std::vector<float> found(7 * kRows);
      ASSERT_TRUE(layer.forward(ctx, std::as_const(x), out, 7));
      ASSERT_TRUE(any.download(ctx, out, found));
      ASSERT_EQ(bits(found), expected()[1]);
      const std::uint64_t row = (t * 5 + round) % 33;
      ASSERT_TRUE(layer.get_rows(ctx, std::vector<std::uint64_t>{160 + row}, out));
      found.resize(kColumns);
      ASSERT_TRUE(any.download(ctx, out, found));
      ASSERT_EQ(bits(found), bits(std::span(q4).subspan(row * kColumns, kColumns)));
    }
  });
}

}  // namespace
}  // namespace quantlinear
