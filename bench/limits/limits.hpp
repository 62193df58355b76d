// What this machine can do at most, measured: instruction rates of the products that kernels are made
// of, and streamed reading. Kernels are judged by their share of these limits, taken in the same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace quantlinear::limits {

enum class Operand : std::uint8_t { int8, int16, f32 };

/// One measured instruction sequence.
struct Rate {
  std::string name;  ///< "vpmaddubsw ymm, 8 sums in int16"
  std::string isa;   ///< "avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm"
  Operand operand = Operand::f32;
  /// How many int8 products are added up in int16 before they are widened; 0: the sequence needs no such step.
  int int16_sums = 0;
  double instructions_per_second = 0;  ///< products (vpmaddubsw, vpdpbusd, vfmadd...) of one core
  double macs_per_second = 0;          ///< multiply-adds of one core
};

struct ReadRate {
  double bytes_per_second = 0;            ///< all threads together, ordinary pages
  double huge_page_bytes_per_second = 0;  ///< the same after madvise(MADV_HUGEPAGE); 0 where not measured
};

struct Options {
  std::vector<int> cpus = {};  ///< CPU numbers for the threads in turn; empty: not bound
  bool cpu_time = false;       ///< processor time instead of time that passed: for one thread on a busy machine
  double seconds = 0.02;       ///< per instruction sequence
  std::size_t read_bytes = std::size_t{512} << 20;  ///< of all threads together
  bool huge_pages = true;                           ///< measure reading from huge pages as well
};

/// Rates of one core while `threads` cores run the same, for every sequence that the CPU has.
[[nodiscard]] std::vector<Rate> instruction_rates(std::size_t threads = 1, const Options& options = {});

/// Reads memory that its readers touched first, best of several ways to walk through it.
[[nodiscard]] ReadRate streamed_read(std::size_t threads = 1, const Options& options = {});

/// Bytes of the largest cache that the first CPU sees, 32 MiB if the system does not say.
[[nodiscard]] std::size_t last_level_cache_bytes();

/// Largest macs_per_second of the operand; `isa` limits it to one instruction set, by its name here or in the library
/// ("avx512" and "avxvnni" include "avx2", "scalar" nothing), empty takes all; `int16_sums` is how many products of the
/// format fit into int16 sums. 0 if none fits.
[[nodiscard]] double best_macs(std::span<const Rate> rates, Operand operand, const std::string& isa, int int16_sums);

/// How many products of 8-bit activations and weights of a GGUF type ("Q4_K", "q4_k") can be added up in int16 sums,
/// of powers of two.
[[nodiscard]] int int16_sums_of(const std::string& gguf_type);

/// In what a product of weights of a GGUF type is computed at precision "f32", "a16" or "a8".
[[nodiscard]] Operand operand_of(const std::string& gguf_type, const std::string& precision);

}  // namespace quantlinear::limits
