// Who runs the work: the caller's threads, or the library's small pool.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

namespace quantlinear {

/// A non-owning reference to `void(std::size_t task)`, valid during the call it is passed to.
class TaskRef {
 public:
  template <class F>
    requires(!std::same_as<std::remove_cv_t<F>, TaskRef>)  // a copy refers to the function, not to the TaskRef copied
  TaskRef(F& function) noexcept                            // NOLINT: implicit by design
      : object_(&function), call_([](const void* object, std::size_t task) {
          (*const_cast<F*>(static_cast<const F*>(object)))(task);  // const only if F is
        }) {}
  void operator()(std::size_t task) const { call_(object_, task); }

 private:
  const void* object_;
  void (*call_)(const void*, std::size_t);
};

/// Runs tasks for a backend. Implement it to put the library's work onto your own threads.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Largest number of tasks that usefully run at the same time; at least 1. Constant.
  [[nodiscard]] virtual std::size_t concurrency() const noexcept = 0;
  /// Calls task(i) exactly once for every i in [0, count) and returns when all have returned. Tasks may
  /// run on any thread, the caller's included, in any order; they never throw and never call run.
  /// What was written before the call is visible to the tasks, and what they wrote after it to the
  /// caller. Must be callable from many threads at once.
  virtual void run(std::size_t count, TaskRef task) noexcept = 0;
};

/// How the default pool behaves.
struct ThreadPoolOptions {
  std::size_t threads = 0;       ///< including the calling thread; 0 = the cores this process may use; 1 = no pool
  std::vector<int> pin_to = {};  ///< CPU numbers for the workers, in turn; empty = not pinned
  int spin_microseconds = 50;    ///< how long an idle worker spins before it sleeps
};

/// A bounded pool: threads - 1 workers that spin briefly, then sleep. The calling thread works too.
/// If the pool is busy with another caller's run, the tasks run on the calling thread alone. After a
/// fork the child's runs are executed on the calling thread. Never null; if the system refuses
/// threads the pool has fewer.
[[nodiscard]] std::shared_ptr<Executor> make_thread_pool(const ThreadPoolOptions& options = {});

}  // namespace quantlinear
