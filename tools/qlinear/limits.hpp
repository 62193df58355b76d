// What this machine can do at best, measured in the same run as the results that are compared with
// it. Memory so far; the rates of the arithmetic units (multiply-adds of f32, of int8 and of int16)
// belong here too once a table shows a share of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "quantlinear/error.hpp"

namespace qlinear {

/// Size of the last-level cache that the first CPU sees; 32 MiB if the system does not say.
[[nodiscard]] std::uint64_t last_level_cache_bytes();

/// Physical memory of the machine.
[[nodiscard]] std::uint64_t physical_memory_bytes();

/// The CPU's name as the system knows it, e.g. "AMD EPYC"; empty if it does not say.
[[nodiscard]] std::string cpu_name();

/// Measures how fast `threads` threads read memory: the roof over every decode step. Each thread
/// sums up its own slice of a buffer far larger than the cache, which it touched first itself.
class StreamReader {
 public:
  /// Starts the threads (the caller's is one of them) and fills the buffer.
  [[nodiscard]] static quantlinear::Result<StreamReader> create(std::size_t threads);
  StreamReader(StreamReader&&) noexcept;
  StreamReader& operator=(StreamReader&&) noexcept;
  ~StreamReader();

  /// Reads the whole buffer a few times; bytes per second of the fastest pass.
  [[nodiscard]] double bytes_per_second();

 private:
  struct Impl;
  explicit StreamReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qlinear
