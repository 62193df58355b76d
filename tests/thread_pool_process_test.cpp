// The default pool as a guest in its process: CPUs it may use, signals, a run inside a run, a fork.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "quantlinear/executor.hpp"

namespace quantlinear {
namespace {

/// True if every one of `count` tasks ran exactly once.
bool runs_each_once(Executor& pool, std::size_t count) {
  std::vector<std::atomic<int>> ran(count);
  auto task = [&](std::size_t i) { ++ran[i]; };
  pool.run(count, task);
  return std::ranges::all_of(ran, [](const std::atomic<int>& n) { return n.load() == 1; });
}

/// Runs `child` in a forked process; true if it returned true, and did so in time.
template <class F>
bool succeeds_in_child(F child) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(20);  // a deadlock ends as a killed child
    _exit(child() ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(ThreadPoolProcess, OneCpuMeansNoWorker) {
  EXPECT_TRUE(succeeds_in_child([] {
    const int here = sched_getcpu();
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(here), &one);
    return here >= 0 && sched_setaffinity(0, sizeof one, &one) == 0 && make_thread_pool()->concurrency() == 1;
  }));
}

TEST(ThreadPoolProcess, ThreadsAreBounded) {
  // Nobody has so many: the pool is as large as it is allowed to get, and works.
  const auto pool = make_thread_pool({.threads = ~std::size_t{0}, .spin_microseconds = 0});
  EXPECT_GE(pool->concurrency(), 1u);
  EXPECT_LE(pool->concurrency(), 1024u);
  EXPECT_TRUE(runs_each_once(*pool, 3000));
}

TEST(ThreadPoolProcess, SignalsAreNotForTheWorkers) {
  const auto pool = make_thread_pool({.threads = 2});
  const std::thread::id self = std::this_thread::get_id();
  std::atomic<int> arrived{0}, terminate{-1}, fault{-1};
  auto task = [&](std::size_t) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    if (std::this_thread::get_id() != self) {
      terminate = sigismember(&mask, SIGTERM);
      fault = sigismember(&mask, SIGBUS);
    }
    ++arrived;
    while (arrived.load() < 2) std::this_thread::yield();
  };
  pool->run(2, task);
  EXPECT_EQ(terminate.load(), 1) << "a handler of the program must run on the program's threads";
  EXPECT_EQ(fault.load(), 0) << "a fault stays where it happens";
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGTERM), 0) << "the caller's mask is as it was";
}

TEST(ThreadPoolProcess, ARunInsideATaskIsRunInline) {
  const auto pool = make_thread_pool({.threads = 3});
  std::vector<std::atomic<int>> ran(4 * 8);
  std::atomic<int> elsewhere{0};
  auto outer = [&](std::size_t i) {
    const std::thread::id self = std::this_thread::get_id();
    auto inner = [&](std::size_t j) {
      ++ran[i * 8 + j];
      if (std::this_thread::get_id() != self) ++elsewhere;
    };
    pool->run(8, inner);
  };
  for (int round = 0; round < 50; ++round) pool->run(4, outer);
  for (const auto& count : ran) EXPECT_EQ(count.load(), 50);
  EXPECT_EQ(elsewhere.load(), 0);
}

TEST(ThreadPoolProcess, TheChildOfAForkNeitherWaitsNorNeedsWorkers) {
  for (const int spin : {0, 1000000}) {  // workers asleep, workers spinning
    auto pool = make_thread_pool({.threads = 3, .spin_microseconds = spin});
    EXPECT_TRUE(runs_each_once(*pool, 100));
    EXPECT_TRUE(succeeds_in_child([&] {
      const bool good = runs_each_once(*pool, 100);
      pool.reset();
      return good;
    }));
    EXPECT_TRUE(runs_each_once(*pool, 100)) << "the parent's pool works on";
  }
}

TEST(TaskRef, ACopyRefersToTheFunction) {
  int calls = 0;
  auto count = [&](std::size_t i) { calls += static_cast<int>(i); };
  TaskRef first(count);
  std::vector<TaskRef> copies(3, first);
  first = copies[0];
  TaskRef last(copies[2]);
  copies.clear();  // `last` must not look at what it was copied from
  last(5);
  first(7);
  EXPECT_EQ(calls, 12);
  const auto constant = [&](std::size_t) { ++calls; };
  const TaskRef to_constant(constant);
  to_constant(0);
  EXPECT_EQ(calls, 13);
}

}  // namespace
}  // namespace quantlinear
