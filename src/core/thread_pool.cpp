// The default executor: a few workers that spin briefly, then sleep.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

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

/// CPUs this process may use: its affinity mask, and the quota of its control group (v2).
std::size_t usable_cpus() {
  std::size_t cpus = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
  std::ifstream quota("/sys/fs/cgroup/cpu.max");
  std::string limit;
  double period = 0;
  if (quota >> limit >> period && limit != "max" && period > 0) {
    const double share = std::strtod(limit.c_str(), nullptr) / period;
    cpus = std::min(cpus, static_cast<std::size_t>(std::max(1.0, share + 0.5)));
  }
#endif
  return cpus;
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

class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options)
      : pid_(getpid()), spin_(std::chrono::microseconds(std::max(0, options.spin_microseconds))) {
    const std::size_t threads = options.threads == 0 ? usable_cpus() : std::min<std::size_t>(options.threads, 1024);
    for (std::size_t i = 0; i + 1 < threads; ++i) {
      const int cpu = options.pin_to.empty() ? -1 : options.pin_to[i % options.pin_to.size()];
      try {
        workers_.emplace_back([this, cpu] { work(cpu); });
      } catch (const std::system_error&) {
        break;  // the system refuses more threads: the pool is as large as it got
      }
    }
  }

  ~ThreadPool() override {
    if (getpid() != pid_) {  // the child of a fork has no workers to wait for
      for (std::thread& worker : workers_) worker.detach();
      return;
    }
    {
      const std::lock_guard lock(sleep_mutex_);
      stop_.store(true);
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  [[nodiscard]] std::size_t concurrency() const noexcept override { return workers_.size() + 1; }

  void run(std::size_t count, TaskRef task) noexcept override {
    if (count == 0) return;
    if (count == 1 || workers_.empty() || getpid() != pid_ || busy_.exchange(true, std::memory_order_acquire)) {
      for (std::size_t i = 0; i < count; ++i) task(i);
      return;
    }
    // The gate is shut and nobody is inside: publish the run, then open.
    task_ = &task;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    gate_.fetch_or(kOpen, std::memory_order_release);
    generation_.fetch_add(1);
    if (sleepers_.load() != 0) {
      const std::lock_guard lock(sleep_mutex_);
      wake_.notify_all();
    }
    take_tasks();
    // All tasks are taken. A worker that is still waking up is not waited for: it finds the gate shut.
    gate_.fetch_and(~kOpen);
    while (gate_.load(std::memory_order_acquire) != 0) pause_cpu();
    busy_.store(false, std::memory_order_release);
  }

 private:
  void take_tasks() noexcept {
    for (std::size_t i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) (*task_)(i);
  }

  /// Waits until generation_ differs from `seen`; returns the new one.
  std::size_t next_generation(std::size_t seen) {
    const auto until = std::chrono::steady_clock::now() + spin_;
    for (unsigned i = 0;; ++i) {
      if (const std::size_t now = generation_.load(std::memory_order_acquire); now != seen) return now;
      pause_cpu();
      if (i % 64 == 63 && std::chrono::steady_clock::now() >= until) break;
    }
    std::unique_lock lock(sleep_mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [&] { return generation_.load() != seen; });
    sleepers_.fetch_sub(1);
    return generation_.load(std::memory_order_acquire);
  }

  void work(int cpu) {
    if (cpu >= 0) pin_this_thread(cpu);
    std::size_t seen = 0;
    while (true) {
      seen = next_generation(seen);
      if (stop_.load()) return;
      if ((gate_.fetch_add(1, std::memory_order_acq_rel) & kOpen) != 0) take_tasks();
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  const pid_t pid_;
  const std::chrono::microseconds spin_;
  std::vector<std::thread> workers_;

  // One run at a time: written by its caller while the gate is shut and nobody is inside.
  const TaskRef* task_ = nullptr;
  std::size_t count_ = 0;

  alignas(64) std::atomic<bool> busy_{false};
  alignas(64) std::atomic<std::size_t> generation_{0};  // one per run
  alignas(64) std::atomic<std::size_t> next_{0};
  /// kOpen while a run may be joined, plus the number of workers inside.
  static constexpr std::size_t kOpen = std::size_t{1} << 32;
  alignas(64) std::atomic<std::size_t> gate_{0};
  std::atomic<std::size_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex sleep_mutex_;
  std::condition_variable wake_;
};

}  // namespace

std::shared_ptr<Executor> make_thread_pool(const ThreadPoolOptions& options) {
  return std::make_shared<ThreadPool>(options);
}

}  // namespace quantlinear
