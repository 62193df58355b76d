// The machine, and what it can do at best (bench/limits): measured in the same run as what is compared with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quantlinear/error.hpp"
#include "quantlinear/precision.hpp"
#include "timing.hpp"

namespace quantlinear::limits {
struct Rate;
}

namespace qlinear {

/// Size of the last-level cache that the first CPU sees; 32 MiB if the system does not say.
[[nodiscard]] std::uint64_t last_level_cache_bytes();

/// Physical memory of the machine.
[[nodiscard]] std::uint64_t physical_memory_bytes();

/// The CPU's name as the system knows it, e.g. "AMD EPYC"; empty if it does not say.
[[nodiscard]] std::string cpu_name();

/// How fast `threads` threads read memory, in bytes per second: the roof over every decode step.
[[nodiscard]] quantlinear::Result<double> streamed_read(std::size_t threads);

/// How fast one core multiplies while `threads` of them do: the roof over every prompt.
class ArithmeticRates {
 public:
  [[nodiscard]] static quantlinear::Result<ArithmeticRates> measure(std::size_t threads);
  ArithmeticRates(ArithmeticRates&&) noexcept;
  ArithmeticRates& operator=(ArithmeticRates&&) noexcept;
  ~ArithmeticRates();

  /// Least time of m rows through the layer at the precision that runs, with `threads` threads of the instruction set
  /// that runs; 0 if no rate of it is known.
  [[nodiscard]] double seconds(const LayerSource& layer, std::uint64_t m, quantlinear::Precision precision,
                               const std::string& isa, std::size_t threads) const;

 private:
  explicit ArithmeticRates(std::vector<quantlinear::limits::Rate> rates);
  std::vector<quantlinear::limits::Rate> rates_;
};

}  // namespace qlinear
