// How many threads the default pool takes: cores, not hardware threads, within what the process may use.
#include "core/usable_cpus.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "quantlinear/executor.hpp"

namespace quantlinear {
namespace {

/// A folder as Linux describes CPUs in, with these lists of siblings; an empty one is left out.
class Topology : public testing::Test {
 protected:
  void describe(const std::vector<std::string>& siblings) {
    for (std::size_t cpu = 0; cpu < siblings.size(); ++cpu) {
      if (siblings[cpu].empty()) continue;
      const auto folder = root / ("cpu" + std::to_string(cpu)) / "topology";
      std::filesystem::create_directories(folder);
      std::ofstream(folder / "thread_siblings_list") << siblings[cpu] << '\n';
    }
  }
  void SetUp() override { std::filesystem::create_directories(root); }
  void TearDown() override { std::filesystem::remove_all(root); }

  const std::filesystem::path root =
      std::filesystem::path(testing::TempDir()) /
      (std::string("topology-") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(Topology, CountsHardwareThreadsOfOneCoreOnce) {
  describe({"0,2", "1,3", "0,2", "1,3"});
  const std::vector<int> all = {0, 1, 2, 3}, one_of_each = {0, 1}, both_of_one = {0, 2};
  EXPECT_EQ(detail::count_cores(all, root), 2u);
  EXPECT_EQ(detail::count_cores(one_of_each, root), 2u);
  EXPECT_EQ(detail::count_cores(both_of_one, root), 1u);
}

TEST_F(Topology, CountsAllCoresOfAHybridProcessor) {
  describe({"0-1", "0-1", "2", "3", "4"});
  const std::vector<int> cpus = {0, 1, 2, 3, 4};
  EXPECT_EQ(detail::count_cores(cpus, root), 4u);
}

TEST_F(Topology, CountsCpusThatNobodyDescribes) {
  describe({"0", "", "", ""});
  const std::vector<int> cpus = {0, 1, 2};
  EXPECT_EQ(detail::count_cores(cpus, root), 3u);
  EXPECT_EQ(detail::count_cores(cpus, root / "nowhere"), 3u);
}

TEST(UsableCpus, AreNoMoreThanTheAffinityMask) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  EXPECT_GE(detail::usable_cpus(), 1u);
  EXPECT_LE(detail::usable_cpus(), static_cast<std::size_t>(CPU_COUNT(&set)));
  EXPECT_EQ(make_thread_pool()->concurrency(), detail::usable_cpus());
}

}  // namespace
}  // namespace quantlinear
