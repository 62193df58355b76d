// How many threads a pool should have by default.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace quantlinear::detail {

/// Cores among these CPUs: hardware threads of one core share its arithmetic units, and a second one finds nothing
/// left to do. `topology` is a folder of cpuN/topology/thread_siblings_list as Linux has it; CPUs that it does not
/// list count as cores of their own.
[[nodiscard]] std::size_t count_cores(std::span<const int> cpus, const std::filesystem::path& topology);

/// Cores that this process may use: its affinity mask, and the quota of its control group (v2). At least 1. Cores of
/// unequal speed all count: work is taken in small items.
[[nodiscard]] std::size_t usable_cpus();

}  // namespace quantlinear::detail
