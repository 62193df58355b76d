// The clock of the measurements.
#pragma once

#include <ctime>

namespace quantlinear::limits {

/// Seconds of this thread's processor time, or of time that passes.
inline double now(bool cpu_time) {
  timespec time{};
  clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace quantlinear::limits
