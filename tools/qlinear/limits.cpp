#include "limits.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <charconv>
#include <chrono>
#include <fstream>
#include <new>
#include <span>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "text.hpp"

namespace qlinear {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr int kPasses = 4;

std::string first_line(const std::string& path) {
  std::ifstream stream(path);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// "32768K" or "32M" in bytes; 0 if it is neither.
std::uint64_t parse_cache_size(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return 0;
  const std::string_view unit(end, text.data() + text.size());
  return unit.starts_with('K') ? value * 1024 : unit.starts_with('M') ? value * kMiB : value;
}

/// Sums with enough independent accumulators that the additions never wait for each other, and few
/// enough to stay in registers: what remains is the time to bring the bytes in.
[[gnu::always_inline]] inline std::uint64_t sum_of(std::span<const std::uint64_t> values) {
  constexpr std::size_t lanes = 16;
  std::array<std::uint64_t, lanes> sums{};
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] += values[i + lane];
  }
  std::uint64_t total = 0;
  for (; i < values.size(); ++i) total += values[i];
  for (const std::uint64_t lane : sums) total += lane;
  return total;
}

// On x86-64 one core's share of the bandwidth depends on the width of its loads: 16 bytes reach about
// four fifths of what 32 bytes do (measured on EPYC), and wider ones no more.
#ifdef __x86_64__
[[gnu::target("avx2")]] std::uint64_t sum_avx2(std::span<const std::uint64_t> values) { return sum_of(values); }
#endif

std::uint64_t sum(std::span<const std::uint64_t> values) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return sum_avx2(values);
#endif
  return sum_of(values);
}

}  // namespace

std::uint64_t last_level_cache_bytes() {
  std::uint64_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", index);
    if (first_line(folder + "type") == "Instruction") continue;
    largest = std::max(largest, parse_cache_size(first_line(folder + "size")));
  }
  return largest != 0 ? largest : 32 * kMiB;
}

std::uint64_t physical_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_size <= 0) return 4096 * kMiB;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_size);
}

std::string cpu_name() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

struct StreamReader::Impl {
  Impl(std::size_t threads, std::size_t words)
      : slice_words(words / threads), slices(threads), gate(static_cast<std::ptrdiff_t>(threads)) {}

  /// The life of a reader: touch the slice, then one pass between each pair of gates until the end.
  void serve(std::size_t index) {
    touch(index);
    gate.arrive_and_wait();
    for (;;) {
      gate.arrive_and_wait();
      if (stop.load()) return;
      pass(index);
      gate.arrive_and_wait();
    }
  }
  void touch(std::size_t index) {
    slices[index].reset(new (std::nothrow) std::uint64_t[slice_words]);
    if (!slices[index]) {
      failed = true;
    } else {
      std::fill_n(slices[index].get(), slice_words, std::uint64_t{index} + 1);
    }
  }
  void pass(std::size_t index) { sink += sum({slices[index].get(), slice_words}); }

  std::size_t slice_words;
  std::vector<std::unique_ptr<std::uint64_t[]>> slices;
  std::barrier<> gate;
  std::atomic<bool> stop = false;
  std::atomic<bool> failed = false;
  std::atomic<std::uint64_t> sink = 0;  // keeps the sums from being optimised away
  std::vector<std::jthread> readers;
};

quantlinear::Result<StreamReader> StreamReader::create(std::size_t threads) {
  using quantlinear::ErrorCode;
  threads = std::max<std::size_t>(1, threads);
  // Far beyond the cache, but never more than a quarter of the machine's memory.
  const std::uint64_t wanted = std::max(512 * kMiB, 4 * last_level_cache_bytes());
  const std::uint64_t bytes = std::min(wanted, physical_memory_bytes() / 4);
  auto impl = std::make_unique<Impl>(threads, bytes / sizeof(std::uint64_t));
  Impl& shared = *impl;
  for (std::size_t i = 1; i < threads; ++i) {
    try {
      shared.readers.emplace_back([&shared, i] { shared.serve(i); });
    } catch (const std::system_error& error) {
      // The readers that did start wait at two gates for those that never will.
      const auto missing = static_cast<std::ptrdiff_t>(threads - i + 1);
      shared.stop = true;
      shared.gate.wait(shared.gate.arrive(missing));
      shared.gate.wait(shared.gate.arrive(missing));
      return quantlinear::fail(ErrorCode::out_of_memory,
                               fmt::format("cannot start {} threads: {}", threads, error.what()));
    }
  }
  shared.touch(0);
  shared.gate.arrive_and_wait();
  StreamReader reader(std::move(impl));
  if (shared.failed) {
    return quantlinear::fail(ErrorCode::out_of_memory,
                             fmt::format("no {} for measuring the memory bandwidth", human_bytes(bytes)));
  }
  return reader;
}

StreamReader::StreamReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StreamReader::StreamReader(StreamReader&&) noexcept = default;
StreamReader& StreamReader::operator=(StreamReader&&) noexcept = default;

StreamReader::~StreamReader() {
  if (!impl_) return;
  impl_->stop = true;
  impl_->gate.arrive_and_wait();
}

double StreamReader::bytes_per_second() {
  using Clock = std::chrono::steady_clock;
  Impl& shared = *impl_;
  double fastest = 0;
  for (int i = 0; i < kPasses; ++i) {
    shared.gate.arrive_and_wait();
    const Clock::time_point start = Clock::now();
    shared.pass(0);
    shared.gate.arrive_and_wait();
    const std::chrono::duration<double> taken = Clock::now() - start;
    const auto bytes = static_cast<double>(shared.slice_words * shared.slices.size() * sizeof(std::uint64_t));
    fastest = std::max(fastest, bytes / taken.count());
  }
  return fastest;
}

}  // namespace qlinear
