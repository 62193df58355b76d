#include "core/usable_cpus.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace quantlinear::detail {
namespace {

/// How many CPUs' time the control group (v2) of this process and the groups above it allow.
double cpu_quota() {
  double least = std::numeric_limits<double>::infinity();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;
    for (std::string path = line.substr(3);; path.erase(path.rfind('/'))) {
      std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
      double quota = 0, period = 0;  // microseconds; the quota may be "max", which is no number
      if (file >> quota >> period && period > 0) least = std::min(least, quota / period);
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

}  // namespace

std::size_t count_cores(std::span<const int> cpus, const std::filesystem::path& topology) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string name = "cpu" + std::to_string(cpu);
    std::ifstream file(topology / name / "topology" / "thread_siblings_list");
    std::string siblings;
    cores.insert(std::getline(file, siblings) && !siblings.empty() ? siblings : name);
  }
  return cores.size();
}

std::size_t usable_cpus() {
  std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
    }
    cores = std::max<std::size_t>(1, count_cores(cpus, "/sys/devices/system/cpu"));
  }
  const double quota = cpu_quota();
  if (quota < static_cast<double>(cores)) cores = static_cast<std::size_t>(std::max(1.0, quota + 0.5));
#endif
  return cores;
}

}  // namespace quantlinear::detail
