// Runs a function on several threads at once, each bound to its CPU.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace quantlinear::limits {

/// Calls work(i) for i in [0, threads) on as many new threads; they start together. `cpus` may be empty.
void run_bound(std::size_t threads, const std::vector<int>& cpus, const std::function<void(std::size_t)>& work);

}  // namespace quantlinear::limits
