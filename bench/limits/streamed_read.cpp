#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <cstring>
#include <stdexcept>

#include "clock.hpp"
#include "limits.hpp"
#include "read_lines.hpp"
#include "run_bound.hpp"
#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

/// The widest loops that this machine runs.
ReadTable reads() {
#if defined(QUANTLINEAR_LIMITS_X86)
  if (const ReadTable wide = avx2_reads(); wide.count != 0) return wide;
#endif
  return {read_loops, int{sizeof read_loops / sizeof *read_loops}};
}

/// Anonymous memory, aligned to 2 MiB.
class Pages {
 public:
  Pages(std::size_t bytes, bool huge) : bytes_(bytes + alignment) {
    void* base = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) throw std::runtime_error("no memory for measuring reads");
    base_ = static_cast<std::byte*>(base);
    const std::size_t skip = (alignment - reinterpret_cast<std::uintptr_t>(base_) % alignment) % alignment;
    data_ = base_ + skip;
#if defined(MADV_HUGEPAGE)
    madvise(data_, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
    (void)huge;
#endif
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { munmap(base_, bytes_); }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  static constexpr std::size_t alignment = std::size_t{2} << 20;
  std::size_t bytes_;
  std::byte* base_ = nullptr;
  std::byte* data_ = nullptr;
};

double best_rate(std::size_t threads, const Options& options, bool huge) {
  constexpr int rounds = 2;
  const std::size_t part = options.read_bytes / threads / 4096 * 4096;
  const Pages pages(part * threads, huge);
  const ReadTable table = reads();
  std::barrier<> gate(static_cast<std::ptrdiff_t>(threads));
  double best = 0;
  run_bound(threads, options.cpus, [&](std::size_t thread) {
    std::byte* mine = pages.data() + thread * part;
    std::memset(mine, 1, part);
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < table.count; ++i) {
        gate.arrive_and_wait();
        const double start = now(options.cpu_time);
        const unsigned long sum =
            table.loops[i](reinterpret_cast<const unsigned long*>(mine), part / sizeof(unsigned long));
        asm volatile("" : : "r"(sum));
        gate.arrive_and_wait();  // the slowest reader counts
        const double seconds = now(options.cpu_time) - start;
        if (thread == 0) best = std::max(best, static_cast<double>(part * threads) / seconds);
      }
    }
  });
  return best;
}

}  // namespace

ReadRate streamed_read(std::size_t threads, const Options& options) {
  return {best_rate(threads, options, false), options.huge_pages ? best_rate(threads, options, true) : 0};
}

}  // namespace quantlinear::limits
