// What the plan says before loading is what the ledger says afterwards, to the byte, and all of it goes.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"
#include "quantlinear/reference_backend.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
using Residence = QuantBytes::Residence;
constexpr std::uint64_t kColumns = 512;

/// `bytes` as a QuantBytes of that residence; the caller keeps them.
QuantBytes reside(const std::vector<std::byte>& bytes, Residence residence) {
  switch (residence) {
    case Residence::borrowed:
      return QuantBytes::borrow(bytes);
    case Residence::owned:
      return QuantBytes::own(bytes);
    case Residence::mapped:
      break;
  }
  return QuantBytes::share(bytes, nullptr, true);
}

class Memory : public testing::Test {
 protected:
  /// Three parts, two with bias, all of one residence.
  std::vector<QuantPart> parts(Residence residence) {
    return {{Kind::Q4_K, reside(q4, residence), 40, std::vector<float>(40, 1.0f)},
            {Kind::Q8_0, reside(q8, residence), 17, {}},
            {Kind::F16, reside(f16, residence), 5, std::vector<float>(5, 1.0f)}};
  }
  static constexpr std::uint64_t bias_bytes = (40 + 5) * sizeof(float);
  static constexpr std::uint64_t f32_bytes = (40 + 17 + 5) * kColumns * sizeof(float);

  const std::vector<std::byte> q4 = test::random_weights(Kind::Q4_K, 40, kColumns, 1),
                               q8 = test::random_weights(Kind::Q8_0, 17, kColumns, 2),
                               f16 = test::random_weights(Kind::F16, 5, kColumns, 3);
  const std::uint64_t block_bytes = 40 * 2 * 144 + 17 * 16 * 34 + 5 * kColumns * 2;
  const std::vector<float> x = test::random_activations(600 * kColumns, 4);
};

TEST_F(Memory, CpuPlanIsTheLedger) {
  for (const std::size_t threads : {1u, 3u}) {
    for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
      for (const Residence residence : {Residence::borrowed, Residence::owned, Residence::mapped}) {
        for (const std::uint64_t m : {0U, 1U, 5U, 40U, 512U, 600U}) {
          SCOPED_TRACE(std::string(to_string(precision)) + " m " + std::to_string(m) + " threads " +
                       std::to_string(threads));
          CpuOptions options;
          options.threads.threads = threads;
          const CpuBackend cpu(options);
          const MemoryUse plan = cpu.memory_plan(parts(residence), kColumns, m, {precision}).value();
          EXPECT_EQ(cpu.ledger(), MemoryUse{}) << "a plan takes nothing";
          {
            const auto layer =
                QuantLinear<CpuBackend>::from_gguf_fused(cpu, parts(residence), kColumns, {precision}).value();
            auto ctx = cpu.new_context().value();
            EXPECT_EQ(cpu.ledger().transient_bytes, 0u) << "a fresh context holds nothing";
            std::vector<float> y(m * layer.out_features());
            ASSERT_TRUE(layer.forward(ctx, std::span(x).first(m * kColumns), y, m));
            EXPECT_EQ(cpu.ledger(), plan);
            EXPECT_EQ(layer.explain(m).memory, plan);
            const bool owned = residence == Residence::owned;
            EXPECT_EQ(plan.resident_bytes, bias_bytes + (owned ? block_bytes : 0));
            EXPECT_EQ(plan.shared_bytes, owned ? 0 : block_bytes);
            EXPECT_EQ(plan.transient_bytes == 0, m == 0);
          }
          EXPECT_EQ(cpu.ledger(), MemoryUse{}) << "something was kept";
        }
      }
    }
  }
}

TEST_F(Memory, ScratchGrowsToTheLargestForwardAndIsReused) {
  const CpuBackend cpu;
  const auto layer = QuantLinear<CpuBackend>::from_gguf_fused(cpu, parts(Residence::borrowed), kColumns).value();
  const auto scratch = [&](std::uint64_t m) {
    return cpu.memory_plan(parts(Residence::borrowed), kColumns, m).value().transient_bytes;
  };
  std::vector<float> y(600 * layer.out_features());
  std::optional<CpuBackend::Context> first = cpu.new_context().value(), second = cpu.new_context().value();
  ASSERT_LT(scratch(1), scratch(40));
  EXPECT_EQ(scratch(300), scratch(600)) << "more than 512 rows run in pieces of equal size";
  for (const std::uint64_t m : {1U, 40U, 1U, 5U}) ASSERT_TRUE(layer.forward(*first, x, y, m));
  EXPECT_EQ(cpu.ledger().transient_bytes, scratch(40));
  ASSERT_TRUE(layer.forward(*second, x, y, 5));
  EXPECT_EQ(cpu.ledger().transient_bytes, scratch(40) + scratch(5)) << "each context has its own";
  auto moved = std::move(*first);
  first.reset();
  EXPECT_EQ(cpu.ledger().transient_bytes, scratch(40) + scratch(5)) << "moved, not doubled and not lost";
  moved = std::move(*second);
  second.reset();
  EXPECT_EQ(cpu.ledger().transient_bytes, scratch(5)) << "an overwritten context gives its memory back";
}

TEST_F(Memory, ScratchIsBoundedWhateverM) {
  const CpuBackend cpu;
  const std::uint64_t most = cpu.memory_plan(parts(Residence::borrowed), kColumns, 512).value().transient_bytes;
  for (const std::uint64_t m : {std::uint64_t{513}, std::uint64_t{100000}, std::uint64_t{1} << 40}) {
    EXPECT_LE(cpu.memory_plan(parts(Residence::borrowed), kColumns, m).value().transient_bytes, most) << m;
  }
}

TEST_F(Memory, LayersAddUpAndCopiesOfTheBackendShareTheLedger) {
  const CpuBackend cpu;
  const CpuBackend copy = cpu, other;
  std::optional first = QuantLinear<CpuBackend>::from_gguf_fused(cpu, parts(Residence::owned), kColumns).value();
  std::optional second = QuantLinear<CpuBackend>::from_gguf_fused(copy, parts(Residence::mapped), kColumns).value();
  EXPECT_EQ(cpu.ledger(), (MemoryUse{block_bytes + 2 * bias_bytes, block_bytes, 0}));
  EXPECT_EQ(copy.ledger(), cpu.ledger());
  EXPECT_EQ(other.ledger(), MemoryUse{});
  std::optional moved = std::move(first);
  first.reset();
  EXPECT_EQ(cpu.ledger(), (MemoryUse{block_bytes + 2 * bias_bytes, block_bytes, 0}));
  moved.reset();
  EXPECT_EQ(cpu.ledger(), (MemoryUse{bias_bytes, block_bytes, 0}));
  second.reset();
  EXPECT_EQ(cpu.ledger(), MemoryUse{});
}

TEST_F(Memory, ARefusedLoadTakesNothing) {
  const CpuBackend cpu;
  const ReferenceBackend reference;
  auto broken = parts(Residence::owned);
  broken[2].rows = 6;
  EXPECT_FALSE(cpu.load_quant_fused(broken, kColumns));
  EXPECT_FALSE(reference.load_quant_fused(broken, kColumns));
  EXPECT_EQ(cpu.ledger(), MemoryUse{});
  EXPECT_EQ(reference.ledger(), MemoryUse{});
  EXPECT_FALSE(cpu.memory_plan(broken, kColumns, 1));
  EXPECT_FALSE(reference.memory_plan(broken, kColumns, 1));
}

TEST_F(Memory, EmptyLayersHoldNothing) {
  const CpuBackend cpu;
  const QuantPart empty{Kind::Q4_K, {}, 0};
  const auto layer = QuantLinear<CpuBackend>::from_gguf_bytes(cpu, Kind::Q4_K, {}, 0, kColumns).value();
  auto ctx = cpu.new_context().value();
  std::vector<float> y;
  ASSERT_TRUE(layer.forward(ctx, x, y, 40));
  EXPECT_EQ(cpu.memory_plan({&empty, 1}, kColumns, 40).value(), MemoryUse{});
  EXPECT_EQ(cpu.ledger(), MemoryUse{});
  EXPECT_EQ(layer.explain(40).memory, MemoryUse{});
}

TEST_F(Memory, ReferencePlanIsTheLedger) {
  for (const Residence residence : {Residence::borrowed, Residence::owned, Residence::mapped}) {
    const ReferenceBackend reference;
    const MemoryUse plan = reference.memory_plan(parts(residence), kColumns, 3).value();
    {
      const auto layer = QuantLinear<ReferenceBackend>::from_gguf_fused(reference, parts(residence), kColumns).value();
      auto ctx = reference.new_context().value();
      std::vector<float> y(3 * layer.out_features());
      ASSERT_TRUE(layer.forward(ctx, x, y, 3));
      EXPECT_EQ(reference.ledger(), plan);
      EXPECT_EQ(layer.explain(3).memory, plan);
      // Its f32 weights and biases, and the blocks where the layer keeps them alive.
      EXPECT_GE(plan.resident_bytes, f32_bytes + bias_bytes);
      EXPECT_LE(plan.resident_bytes + plan.shared_bytes, f32_bytes + bias_bytes + block_bytes);
    }
    EXPECT_EQ(reference.ledger(), MemoryUse{});
  }
}

}  // namespace
}  // namespace quantlinear
