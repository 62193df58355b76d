#include "run_bound.hpp"

#include <barrier>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace quantlinear::limits {
namespace {

void bind_this_thread([[maybe_unused]] int cpu) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);  // a refusal only makes the measurement less steady
#endif
}

}  // namespace

void run_bound(std::size_t threads, const std::vector<int>& cpus, const std::function<void(std::size_t)>& work) {
  std::barrier<> start(static_cast<std::ptrdiff_t>(threads));
  std::vector<std::jthread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      if (!cpus.empty()) bind_this_thread(cpus[i % cpus.size()]);
      start.arrive_and_wait();
      work(i);
    });
  }
}

}  // namespace quantlinear::limits
