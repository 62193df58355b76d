// The default executor by its contract (executor.hpp). Meant to run under ThreadSanitizer as well.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "quantlinear/executor.hpp"

// ThreadSanitizer ends a child that starts threads unless told not to. Not called without it.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace quantlinear {
namespace {

std::shared_ptr<Executor> pool_of(std::size_t threads, int spin_microseconds = 50) {
  ThreadPoolOptions options;
  options.threads = threads;
  options.spin_microseconds = spin_microseconds;
  return make_thread_pool(options);
}

/// Runs `count` tasks and checks that each index came exactly once and is visible afterwards.
void expect_each_once(Executor& pool, std::size_t count) {
  std::vector<std::atomic<int>> calls(count);
  std::vector<std::size_t> written(count, 0);  // plain memory: what tasks write, the caller sees
  auto task = [&](std::size_t i) {
    ASSERT_LT(i, count);
    calls[i].fetch_add(1, std::memory_order_relaxed);
    written[i] += i + 1;
  };
  pool.run(count, task);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(calls[i].load(std::memory_order_relaxed), 1) << "index " << i << " of " << count;
    ASSERT_EQ(written[i], i + 1);
  }
}

/// True if a run of `tasks` tasks was on more than one thread: every task waits for company, a second at most.
bool runs_on_several_threads(Executor& pool, std::size_t tasks) {
  std::atomic<std::size_t> here{0};
  auto task = [&](std::size_t) {
    here.fetch_add(1);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    while (here.load() < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  };
  const auto start = std::chrono::steady_clock::now();
  pool.run(tasks, task);
  return std::chrono::steady_clock::now() - start < std::chrono::seconds(1);
}

TEST(ThreadPool, CallsEachIndexExactlyOnce) {
  for (const std::size_t threads : {1u, 2u, 3u, 8u}) {
    const auto pool = pool_of(threads);
    for (const std::size_t count : {0u, 1u, 2u, 3u, 7u, 8u, 9u, 1000u}) expect_each_once(*pool, count);
    for (int i = 0; i < 500; ++i) expect_each_once(*pool, 5);
  }
}

TEST(ThreadPool, ConcurrencyIsTheNumberOfThreads) {
  EXPECT_EQ(pool_of(1)->concurrency(), 1u);
  EXPECT_EQ(pool_of(4)->concurrency(), 4u);
  const auto automatic = pool_of(0);
  EXPECT_GE(automatic->concurrency(), 1u);
  cpu_set_t usable;
  ASSERT_EQ(sched_getaffinity(0, sizeof usable, &usable), 0);
  EXPECT_LE(automatic->concurrency(), static_cast<std::size_t>(CPU_COUNT(&usable)));
}

TEST(ThreadPool, OneThreadIsTheCaller) {
  const auto pool = pool_of(1);
  std::set<std::thread::id> ids;
  auto task = [&](std::size_t) { ids.insert(std::this_thread::get_id()); };
  pool->run(100, task);
  EXPECT_EQ(ids, std::set{std::this_thread::get_id()});
}

TEST(ThreadPool, WorkersTakePart) {
  EXPECT_TRUE(runs_on_several_threads(*pool_of(2), 2));
  EXPECT_TRUE(runs_on_several_threads(*pool_of(4), 8));
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  for (const int spin : {0, 1, 200}) {
    const auto pool = pool_of(3, spin);
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than they spin
      EXPECT_TRUE(runs_on_several_threads(*pool, 3)) << "spin " << spin << " run " << i;
      expect_each_once(*pool, 9);
    }
  }
}

TEST(ThreadPool, RunsThatMeetWorkersFallingAsleepAreNotLost) {
  const auto pool = pool_of(3, 5);
  for (int i = 0; i < 2000; ++i) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 12);
    while (std::chrono::steady_clock::now() < until) {
    }
    expect_each_once(*pool, 3);
  }
}

TEST(ThreadPool, ManyCallersAtOnce) {
  const auto pool = pool_of(3);
  std::vector<std::thread> callers;
  for (std::size_t t = 0; t < 8; ++t) {
    callers.emplace_back([&, t] {
      for (std::size_t i = 0; i < 300; ++i) expect_each_once(*pool, 1 + (i + t) % 11);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(ThreadPool, ABusyPoolRunsTheTasksOfOthersInline) {
  const auto pool = pool_of(2);
  std::atomic<bool> occupied{false}, done{false};
  std::thread first([&] {
    auto hold = [&](std::size_t) {
      occupied = true;
      while (!done) std::this_thread::yield();
    };
    pool->run(2, hold);
  });
  while (!occupied) std::this_thread::yield();
  std::set<std::thread::id> ids;  // unguarded: tasks on another thread would be a race, and a wrong set
  auto task = [&](std::size_t) { ids.insert(std::this_thread::get_id()); };
  pool->run(50, task);  // returns although the first run has not
  EXPECT_EQ(ids, std::set{std::this_thread::get_id()});
  done = true;
  first.join();
  EXPECT_TRUE(runs_on_several_threads(*pool, 2)) << "free again";
}

TEST(ThreadPool, ComesAndGoes) {
  for (int i = 0; i < 50; ++i) pool_of(4, i % 3);  // never used
  for (int i = 0; i < 50; ++i) expect_each_once(*pool_of(4, i % 3), 6);
}

TEST(ThreadPool, PinnedWorkersStayOnTheirCpu) {
  cpu_set_t usable;
  ASSERT_EQ(sched_getaffinity(0, sizeof usable, &usable), 0);
  int cpu = 0;
  while (!CPU_ISSET(static_cast<std::size_t>(cpu), &usable)) ++cpu;
  ThreadPoolOptions options;
  options.threads = 2;
  options.pin_to = {cpu};
  const auto pool = make_thread_pool(options);
  const auto caller = std::this_thread::get_id();
  std::atomic<std::size_t> here{0};
  std::atomic<int> worker_cpus{-1}, worker_cpu{-1};
  auto task = [&](std::size_t) {
    here.fetch_add(1);
    while (here.load() < 2) std::this_thread::yield();
    if (std::this_thread::get_id() == caller) return;
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0) worker_cpus = CPU_COUNT(&mine);
    worker_cpu = sched_getcpu();
  };
  pool->run(2, task);
  EXPECT_EQ(worker_cpus.load(), 1);
  EXPECT_EQ(worker_cpu.load(), cpu);
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&usable, &after)) << "the caller's own affinity is not touched";
}

TEST(ThreadPool, PinningToACpuThatDoesNotExistIsNoFailure) {
  ThreadPoolOptions options;
  options.threads = 3;
  options.pin_to = {-7, 1 << 20};
  expect_each_once(*make_thread_pool(options), 20);
}

/// Runs `body` in a forked child and returns its exit status; a child that hangs is killed by an alarm.
template <class Body>
int status_in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    body();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

/// Which thread ran each of `count` tasks that wait for each other, so that every one has a thread of its own.
std::vector<std::thread::id> threads_of(Executor& pool, std::size_t count) {
  std::vector<std::thread::id> threads(count);
  std::atomic<std::size_t> begun{0};
  auto task = [&](std::size_t i) {
    threads[i] = std::this_thread::get_id();
    ++begun;
    while (begun != count) std::this_thread::yield();
  };
  pool.run(count, task);
  return threads;
}

TEST(ThreadPool, ATaskStaysWithItsThread) {
  const auto pool = pool_of(4);
  const auto threads = threads_of(*pool, 4);
  EXPECT_EQ(threads[0], std::this_thread::get_id());
  EXPECT_EQ(std::set<std::thread::id>(threads.begin(), threads.end()).size(), 4U);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(threads_of(*pool, 4), threads);
}

TEST(ThreadPoolFork, TheChildCanRunAndDestroyASleepingPool) {
  auto pool = pool_of(4, 0);
  expect_each_once(*pool, 8);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(status_in_child([&] {
              expect_each_once(*pool, 50);
              pool.reset();
              expect_each_once(*pool_of(3), 20);  // and make one of its own
            }),
            0);
  expect_each_once(*pool, 50);  // the parent's pool still works
  EXPECT_TRUE(runs_on_several_threads(*pool, 4));
}

TEST(ThreadPoolFork, TheChildCanUseAPoolThatWasBusyAtTheFork) {
  auto pool = pool_of(3);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) expect_each_once(*pool, 4);
  });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(status_in_child([&] {
                expect_each_once(*pool, 10);
                pool.reset();
              }),
              0);
  }
  stop = true;
  busy.join();
}

}  // namespace
}  // namespace quantlinear
