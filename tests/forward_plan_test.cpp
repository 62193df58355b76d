// How a forward divides its scratch memory.
#include "cpu/forward_plan.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>

#include "cpu/scratch.hpp"

namespace quantlinear::cpu {
namespace {

TEST(ForwardPlan, APageThatNobodyUsesAfterWhatEveryCoreHasForItself) {
  const InstructionSet* choices[] = {&instruction_sets().front()};
  constexpr std::uint64_t kRows = 4096, kColumns = 4096;
  int with_lanes = 0;
  for (const GgufQuantType kind : {GgufQuantType::F16, GgufQuantType::Q8_0, GgufQuantType::Q4_K}) {
    const QuantPart parts[] = {{.kind = kind, .bytes = {}, .rows = kRows}};
    for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
      const auto layer = choose_kernels(choices, parts, kColumns, kRows, precision, StoreLayout::as_in_file);
      ASSERT_TRUE(layer);
      const ProductKernel& kernel = *layer->parts[0].product;
      for (const std::size_t threads : {1U, 2U, 7U}) {
        for (const std::uint64_t m : {1U, 8U, 64U, 1000U}) {
          const ForwardPlan plan = plan_forward(*layer, parts, m, threads);
          EXPECT_EQ(plan.lanes, threads);
          EXPECT_EQ(plan.bytes, plan.prepared.bytes + plan.lanes * plan.lane_bytes);
          EXPECT_EQ(plan.prepared.bytes % kScratchPage, 0U);
          EXPECT_GE(plan.prepared.bytes, plan.prepared.finite_at + plan.pieces.columns + kScratchPage);
          EXPECT_EQ(plan.lane_bytes % kScratchPage, 0U);
          const std::size_t needed = kernel.scratch_bytes(plan.pieces.columns, kColumns);
          if (needed == 0) {
            EXPECT_EQ(plan.lane_bytes, 0U);
          } else {
            EXPECT_GE(plan.lane_bytes, needed + kScratchPage);
            ++with_lanes;
          }
        }
      }
    }
  }
  EXPECT_GT(with_lanes, 0);
}

TEST(ForwardPlan, ScratchBeginsWithAPage) {
  Scratch scratch(std::make_shared<Ledger>());
  for (const std::size_t bytes : {1U, 4097U, 100000U}) {
    const Result<std::byte*> block = scratch.reserve(bytes);
    ASSERT_TRUE(block);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(*block) % kScratchPage, 0U);
  }
}

}  // namespace
}  // namespace quantlinear::cpu
