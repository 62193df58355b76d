// How the work items of a forward are shared out among lanes.
#include "cpu/item_shares.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace quantlinear::cpu {
namespace {

TEST(ItemShares, EveryItemOnceInWhateverOrderTheLanesCome) {
  for (const std::size_t lanes : {1U, 2U, 3U, 64U, 65U, 200U}) {
    for (const std::size_t items : {0U, 1U, 2U, 63U, 64U, 1000U}) {
      ItemShares shares(items, lanes);
      std::vector<int> calls(items, 0);
      for (std::size_t lane = lanes; lane-- > 0;) {
        shares.work(lane, [&](std::size_t item) { ++calls.at(item); });
      }
      EXPECT_EQ(calls, std::vector<int>(items, 1)) << items << " items, " << lanes << " lanes";
    }
  }
}

TEST(ItemShares, ALaneBeginsWithItsOwn) {
  for (std::size_t lane = 0; lane < 4; ++lane) {
    std::vector<std::size_t> items;
    ItemShares alone(80, 4);
    alone.work(lane, [&](std::size_t item) { items.push_back(item); });
    ASSERT_EQ(items.size(), 80U);  // and does the others' when it is done
    for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(items[i], 20 * lane + i);
  }
}

TEST(ItemShares, EveryItemOnceByThreadsAtTheSameTime) {
  constexpr std::size_t kItems = 20000, kLanes = 4;
  ItemShares shares(kItems, kLanes);
  std::vector<int> calls(kItems, 0);  // not atomic: two calls of the same item are a race that the sanitizer sees
  {
    std::vector<std::jthread> threads;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      threads.emplace_back([&, lane] { shares.work(lane, [&](std::size_t item) { ++calls[item]; }); });
    }
  }
  EXPECT_EQ(calls, std::vector<int>(kItems, 1));
}

}  // namespace
}  // namespace quantlinear::cpu
