#include "machine.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <utility>

#include "limits/limits.hpp"

namespace qlinear {
namespace {

namespace limits = quantlinear::limits;

constexpr std::uint64_t kMiB = 1U << 20U;

/// Starting threads and taking memory may fail, and the measuring code says so by exceptions.
template <class Measure>
auto measured(std::size_t threads, Measure measure) -> quantlinear::Result<decltype(measure())> {
  try {
    return measure();
  } catch (const std::exception& error) {
    return quantlinear::fail(quantlinear::ErrorCode::out_of_memory,
                             fmt::format("cannot measure what {} threads can do: {}", threads, error.what()));
  }
}

}  // namespace

std::uint64_t last_level_cache_bytes() { return limits::last_level_cache_bytes(); }

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

quantlinear::Result<double> streamed_read(std::size_t threads) {
  // Far beyond the cache, but never more than a quarter of the machine's memory.
  const std::uint64_t wanted = std::max(128 * kMiB, 4 * last_level_cache_bytes());
  const limits::Options options{.read_bytes = std::min(wanted, physical_memory_bytes() / 4), .huge_pages = false};
  return measured(threads, [&] { return limits::streamed_read(threads, options).bytes_per_second; });
}

quantlinear::Result<ArithmeticRates> ArithmeticRates::measure(std::size_t threads) {
  return measured(threads, [&] { return ArithmeticRates(limits::instruction_rates(threads)); });
}

ArithmeticRates::ArithmeticRates(std::vector<limits::Rate> rates) : rates_(std::move(rates)) {}
ArithmeticRates::ArithmeticRates(ArithmeticRates&&) noexcept = default;
ArithmeticRates& ArithmeticRates::operator=(ArithmeticRates&&) noexcept = default;
ArithmeticRates::~ArithmeticRates() = default;

double ArithmeticRates::seconds(const LayerSource& layer, std::uint64_t m, quantlinear::Precision precision,
                                const std::string& isa, std::size_t threads) const {
  double seconds = 0;
  for (const quantlinear::QuantPart& part : layer.parts) {
    const std::string type(to_string(part.kind));
    const limits::Operand operand = limits::operand_of(type, std::string(to_string(precision)));
    const double rate = limits::best_macs(rates_, operand, isa, limits::int16_sums_of(type));
    if (rate == 0) return 0;
    seconds += static_cast<double>(m * part.rows) * static_cast<double>(layer.in_features) / rate;
  }
  return seconds / static_cast<double>(threads);
}

}  // namespace qlinear
