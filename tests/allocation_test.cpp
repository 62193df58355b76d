// A forward allocates nothing once its context has seen the shape: neither for its plan nor for its work.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"
#include "support/random_weights.hpp"

namespace {

std::atomic<int> allocations;

void* counted(std::size_t size) {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}

}  // namespace

void* operator new(std::size_t size) {
  if (void* memory = counted(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace quantlinear {
namespace {

TEST(Forward, AllocatesNothingInItsSteadyState) {
  constexpr std::uint64_t kColumns = 512;
  const auto part = [](GgufQuantType kind, std::uint64_t rows) {
    return QuantPart{kind, QuantBytes::own(test::random_weights(kind, rows, kColumns, 1)), rows, {}};
  };
  for (const std::size_t threads : {1U, 2U}) {
    CpuOptions options;
    options.threads.threads = threads;
    const CpuBackend cpu(options);
    const std::vector<QuantPart> parts = {part(GgufQuantType::Q4_K, 600), part(GgufQuantType::Q8_0, 40),
                                          part(GgufQuantType::F16, 8)};
    const auto layer = QuantLinear<CpuBackend>::from_gguf_fused(cpu, parts, kColumns).value();
    auto ctx = cpu.new_context().value();
    for (const std::uint64_t m : {1U, 7U, 600U}) {
      const std::vector<float> x = test::random_activations(m * kColumns, 2);
      std::vector<float> y(m * layer.out_features());
      ASSERT_TRUE(layer.forward(ctx, x, y, m));
      const int before = allocations;
      ASSERT_TRUE(layer.forward(ctx, x, y, m));
      EXPECT_EQ(allocations, before) << "m " << m << ", " << threads << " threads";
    }
    const int before = allocations;
    {
      const std::vector<int> one(1);
    }
    EXPECT_EQ(allocations, before + 1) << "the counter counts";
  }
}

}  // namespace
}  // namespace quantlinear
