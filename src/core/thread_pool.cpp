// The default executor: a few workers that spin briefly, then sleep.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>

#include "core/usable_cpus.hpp"
#include "quantlinear/executor.hpp"

namespace quantlinear {
namespace {

inline void pause_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void pin_this_thread([[maybe_unused]] int cpu) noexcept {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= 0 && cpu < CPU_SETSIZE) {
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    sched_setaffinity(0, sizeof set, &set);
  }
#endif
}

/// While it lives, threads are started with the signals blocked that other threads can take: a
/// process's handlers run on threads of its own. Faults stay where they happen.
class BlockedSignals {
 public:
  BlockedSignals() noexcept {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int fault : {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP}) sigdelset(&blocked, fault);
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options)
      : pid_(getpid()), spin_(std::chrono::microseconds(std::max(0, options.spin_microseconds))) {
    try {
      constexpr std::size_t kMostThreads = 1024;
      const std::size_t threads =
          std::min(options.threads == 0 ? detail::usable_cpus() : options.threads, kMostThreads);
      taken_ = std::vector<std::atomic<bool>>(threads);
      workers_.reserve(threads - 1);  // the workers keep pointers to their entries
      const BlockedSignals blocked;
      while (workers_.size() + 1 < threads) {
        const auto& pins = options.pin_to;
        workers_.push_back({.pool = this,
                            .index = workers_.size() + 1,
                            .cpu = pins.empty() ? -1 : pins[workers_.size() % pins.size()]});
        if (pthread_create(&workers_.back().thread, nullptr, start, &workers_.back()) != 0) {
          workers_.pop_back();
          break;  // the system refuses more threads: the pool is as large as it got
        }
      }
    } catch (const std::exception&) {  // no memory even for the list: no workers
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  ~ThreadPool() override {
    // In the child of a fork there is nobody to stop, and the handles may stand for other threads by now.
    if (getpid() != pid_) return;
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    for (const Worker& worker : workers_) pthread_join(worker.thread, nullptr);
  }

  [[nodiscard]] std::size_t concurrency() const noexcept override { return workers_.size() + 1; }

  void run(std::size_t count, TaskRef task) noexcept override {
    if (count <= 1 || workers_.empty() || getpid() != pid_ || busy_.exchange(true, std::memory_order_acquire)) {
      for (std::size_t i = 0; i < count; ++i) task(i);
      return;
    }
    // The gate is shut and nobody is inside who would look at a task: publish the run, then open.
    task_ = &task;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    for (std::size_t i = 0; i < std::min(count, taken_.size()); ++i) taken_[i].store(false, std::memory_order_relaxed);
    gate_.fetch_or(kOpen, std::memory_order_release);
    generation_.fetch_add(1);
    if (count > workers_.size()) {
      generation_.notify_all();
    } else {
      for (std::size_t i = 1; i < count; ++i) generation_.notify_one();
    }
    take_tasks(0);
    // All tasks are taken. A worker that is still waking up is not waited for: it finds the gate shut.
    std::uint32_t inside = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    while (inside != 0) inside = wait_for_change(gate_, inside);
    busy_.store(false, std::memory_order_release);
  }

 private:
  struct Worker {
    ThreadPool* pool;
    std::size_t index;  ///< from 1; the caller of a run is 0
    int cpu;            ///< to run on, or -1
    pthread_t thread{};
  };

  static void* start(void* worker) {
    const auto& self = *static_cast<const Worker*>(worker);
    pin_this_thread(self.cpu);
    self.pool->work(self.index);
    return nullptr;
  }

  void work(std::size_t thread) noexcept {
    std::uint32_t seen = 0;
    while (true) {
      seen = wait_for_change(generation_, seen);
      if (stop_.load()) return;
      if ((gate_.fetch_add(1, std::memory_order_acq_rel) & kOpen) != 0) take_tasks(thread);
      if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
    }
  }

  /// Task i goes to thread i if that comes in time, so that it finds in its caches and in its node's memory what it had
  /// before; then whatever is left.
  void take_tasks(std::size_t thread) noexcept {
    const std::size_t count = count_;
    const auto take = [&](std::size_t i) { return i >= taken_.size() || !taken_[i].exchange(true); };
    if (thread < count && take(thread)) (*task_)(thread);
    for (std::size_t i = next_.fetch_add(1); i < count; i = next_.fetch_add(1)) {
      if (take(i)) (*task_)(i);
    }
  }

  /// Waits until `word` differs from `seen`: spins for a while, then sleeps. Returns the new value.
  std::uint32_t wait_for_change(const std::atomic<std::uint32_t>& word, std::uint32_t seen) const noexcept {
    if (spin_.count() != 0) {
      const auto until = std::chrono::steady_clock::now() + spin_;
      for (unsigned i = 1; i % 64 != 0 || std::chrono::steady_clock::now() < until; ++i) {
        if (const std::uint32_t now = word.load(std::memory_order_acquire); now != seen) return now;
        pause_cpu();
      }
    }
    word.wait(seen, std::memory_order_acquire);
    return word.load(std::memory_order_acquire);
  }

  const pid_t pid_;
  const std::chrono::microseconds spin_;
  std::vector<Worker> workers_;

  // One run at a time: written by its caller while the gate is shut and nobody is inside.
  const TaskRef* task_ = nullptr;
  std::size_t count_ = 0;
  std::vector<std::atomic<bool>> taken_;  ///< of the first tasks, one a thread

  // Each on a cache line of its own. They outlive a fork: there is no lock that could stay locked in
  // the child, and nothing whose destruction waits for sleepers that exist in the parent only.
  alignas(64) std::atomic<bool> busy_{false};
  alignas(64) std::atomic<std::uint32_t> generation_{0};  ///< counts the runs; idle workers wait for it to change
  alignas(64) std::atomic<std::size_t> next_{0};          ///< the next task to take
  static constexpr std::uint32_t kOpen = std::uint32_t{1} << 31;
  alignas(64) std::atomic<std::uint32_t> gate_{0};  ///< kOpen while a run may be joined, plus the workers inside
  std::atomic<bool> stop_{false};
};

}  // namespace

std::shared_ptr<Executor> make_thread_pool(const ThreadPoolOptions& options) {
  return std::make_shared<ThreadPool>(options);
}

}  // namespace quantlinear
