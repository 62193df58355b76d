#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

#include "clock.hpp"
#include "limits.hpp"
#include "run_bound.hpp"
#include "sequence.hpp"

namespace quantlinear::limits {
namespace {

double seconds_of(const Sequence& sequence, unsigned long iterations, bool cpu_time) {
  const double start = now(cpu_time);
  sequence.run(iterations);
  return now(cpu_time) - start;
}

/// Iterations a second: the best slice, because a limit is what the machine can do undisturbed.
double iterations_per_second(const Sequence& sequence, const Options& options) {
  constexpr int slices = 10;
  unsigned long iterations = 1000;
  double taken = seconds_of(sequence, iterations, options.cpu_time);
  while (taken < options.seconds / slices) {
    iterations *= 2;
    taken = seconds_of(sequence, iterations, options.cpu_time);
  }
  for (int i = 0; i < slices; ++i) taken = std::min(taken, seconds_of(sequence, iterations, options.cpu_time));
  return static_cast<double>(iterations) / taken;
}

std::vector<Sequence> all_sequences() {
  std::vector<Sequence> all;
  const auto add = [&](SequenceTable table) { all.insert(all.end(), table.sequences, table.sequences + table.count); };
#if defined(QUANTLINEAR_LIMITS_X86)
  add(avx2_sequences());
  add(avxvnni_sequences());
  add(avx512_sequences());
  add(amx_sequences());
#elif defined(QUANTLINEAR_LIMITS_NEON)
  add(neon_sequences());
#endif
  (void)add;
  return all;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool included(std::string_view rate, std::string_view isa) {
  if (isa == "avx_vnni") isa = "avxvnni";
  if (isa.starts_with("neon_")) isa.remove_prefix(std::string_view("neon_").size());
  if (isa.empty() || rate == isa) return true;
  if (isa == "avx512_amx" && rate == "amx") return true;
  if (isa.starts_with("avx512")) return rate.starts_with("avx");
  if (isa == "avxvnni") return rate == "avx2";
  if (isa == "i8mm") return rate == "neon" || rate == "dotprod";
  if (isa == "dotprod") return rate == "neon";
  return false;
}

}  // namespace

std::vector<Rate> instruction_rates(std::size_t threads, const Options& options) {
  std::vector<Rate> rates;
  for (const Sequence& sequence : all_sequences()) {
    std::vector<double> per_thread(threads);
    run_bound(threads, options.cpus, [&](std::size_t i) { per_thread[i] = iterations_per_second(sequence, options); });
    double sum = 0;
    for (const double value : per_thread) sum += value;
    Rate rate;
    rate.name = sequence.name;
    rate.isa = sequence.isa;
    rate.operand = static_cast<Operand>(sequence.operand);
    rate.int16_sums = sequence.int16_sums;
    rate.instructions_per_second = sum / static_cast<double>(threads) * sequence.products;
    rate.macs_per_second = rate.instructions_per_second * sequence.macs;
    rates.push_back(std::move(rate));
  }
  return rates;
}

double best_macs(std::span<const Rate> rates, Operand operand, const std::string& isa, int int16_sums) {
  double best = 0;
  for (const Rate& rate : rates) {
    const bool exact = rate.int16_sums <= int16_sums;  // more sums than fit would not be exact
    if (rate.operand == operand && exact && included(rate.isa, isa)) best = std::max(best, rate.macs_per_second);
  }
  return best;
}

int int16_sums_of(const std::string& gguf_type) {
  static const std::map<std::string, int> by_type = {
      {"q4_0", 8},   {"q4_1", 8},    {"q4_k", 8},  {"q5_0", 4},    {"q5_1", 4},  {"q5_k", 4},
      {"q6_k", 4},   {"q2_k", 4},    {"q3_k", 4},  {"q1_0", 8},    {"q2_0", 8},  {"tq1_0", 8},
      {"tq2_0", 8},  {"mxfp4", 8},   {"nvfp4", 4}, {"iq1_s", 8},   {"iq1_m", 4}, {"iq2_s", 2},
      {"iq2_xs", 2}, {"iq2_xxs", 2}, {"iq3_s", 2}, {"iq3_xxs", 2},
  };
  const auto found = by_type.find(lower_case(gguf_type));
  return found == by_type.end() ? 1 : found->second;
}

Operand operand_of(const std::string& gguf_type, const std::string& precision) {
  const std::string type = lower_case(gguf_type);
  const bool is_float = type == "f32" || type == "f16" || type == "bf16";
  if (is_float || precision == "f32") return Operand::f32;
  return precision == "a16" ? Operand::int16 : Operand::int8;
}

}  // namespace quantlinear::limits
