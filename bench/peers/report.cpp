#include "report.hpp"

#include <algorithm>
#include <cmath>

namespace peers {
namespace {

namespace limits = quantlinear::limits;

bool took_part(const EntrantResult& result) { return result.reason.empty() && result.median > 0; }

double shown_seconds(const EntrantResult& result, bool by_best) { return by_best ? result.best : result.median; }

/// How many times as fast as the peer.
double ratio_to(const EntrantResult& peer, const EntrantResult& ours, bool by_best) {
  return shown_seconds(peer, by_best) / shown_seconds(ours, by_best);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

void json_limits(std::FILE* out, const LimitsByThreads& limits) {
  std::fputs("  \"limits\": [", out);
  const char* separator = "\n";
  for (const auto& [threads, limit] : limits) {
    std::fprintf(out, "%s    {\"threads\": %zu, \"read_gb_s\": %.3f, \"read_huge_pages_gb_s\": %.3f, \"rates\": [",
                 separator, threads, limit.read.bytes_per_second / 1e9, limit.read.huge_page_bytes_per_second / 1e9);
    const char* comma = "\n";
    for (const auto& rate : limit.rates) {
      std::fprintf(out, "%s      {\"name\": %s, \"isa\": %s, \"g_per_s\": %.3f, \"gmac_per_s\": %.2f}", comma,
                   quoted(rate.name).c_str(), quoted(rate.isa).c_str(), rate.instructions_per_second / 1e9,
                   rate.macs_per_second / 1e9);
      comma = ",\n";
    }
    std::fputs("]}", out);
    separator = ",\n";
  }
  std::fputs("],\n", out);
}

void json_entrant(std::FILE* out, const Entrant& entrant, const EntrantResult& result, double bound) {
  std::fprintf(out, "      {\"name\": %s, \"precision\": %s, ", quoted(entrant.name()).c_str(),
               quoted(entrant.precision()).c_str());
  if (!took_part(result)) {
    std::fprintf(out, "\"reason\": %s}", quoted(result.reason).c_str());
    return;
  }
  std::fprintf(out, "\"median_s\": %.9g, \"best_s\": %.9g, \"bound_s\": %.9g, \"nmse\": %.4g, \"turns_s\": [",
               result.median, result.best, bound, std::isnan(result.error) ? -1.0 : result.error);
  for (std::size_t i = 0; i < result.turns.size(); ++i) std::fprintf(out, "%s%.6g", i ? ", " : "", result.turns[i]);
  std::fputs("]}", out);
}

}  // namespace

double bound_seconds(const CaseResult& result, const std::string& precision, const Limits& measured,
                     const std::string& isa) {
  const double macs = static_cast<double>(result.shape.n * result.shape.k * result.m);
  const std::string& type = result.type.name;
  const double rate =
      limits::best_macs(measured.rates, limits::operand_of(type, precision), isa, limits::int16_sums_of(type));
  const double reading = static_cast<double>(result.weight_bytes) / measured.read.bytes_per_second;
  return rate == 0 ? reading : std::max(reading, macs / rate / static_cast<double>(result.threads));
}

int best_peer(const CaseResult& result, std::span<const Entrant> entrants, bool by_best) {
  int best = -1;
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    if (entrants[i].ours() || !took_part(result.entrants[i])) continue;
    if (best < 0 || ratio_to(result.entrants[static_cast<std::size_t>(best)], result.entrants[i], by_best) > 1) {
      best = static_cast<int>(i);
    }
  }
  return best;
}

void print_limits(std::FILE* out, std::size_t threads, const Limits& limits) {
  std::fprintf(out, "limits with %zu thread%s: streamed read %.1f GB/s (%.1f in huge pages); per core\n", threads,
               threads == 1 ? "" : "s", limits.read.bytes_per_second / 1e9,
               limits.read.huge_page_bytes_per_second / 1e9);
  for (const auto& rate : limits.rates) {
    std::fprintf(out, "  %-34s %-8s %6.2f G/s %7.1f GMAC/s\n", rate.name.c_str(), rate.isa.c_str(),
                 rate.instructions_per_second / 1e9, rate.macs_per_second / 1e9);
  }
}

void print_header(std::FILE* out, std::span<const Entrant> entrants) {
  std::fputs(
      "\nMilliseconds of one product (share of the machine's limit for it); for ours also\n"
      "how many times as fast as the best peer. Errors: normalised mean square against f64, worst of the peers.\n",
      out);
  std::fprintf(out, "%-8s %13s %4s %2s", "type", "n x k", "m", "t");
  for (const Entrant& entrant : entrants) {
    std::fprintf(out, entrant.ours() ? " | %23s" : " | %15s", entrant.name().c_str());
  }
  std::fputs(" |  errors\n", out);
}

void print_case(std::FILE* out, const CaseResult& result, std::span<const Entrant> entrants, const Limits& limits,
                const Options& options) {
  const std::string shape = std::to_string(result.shape.n) + "x" + std::to_string(result.shape.k);
  std::fprintf(out, "%-8s %13s %4zu %2zu", result.type.name.c_str(), shape.c_str(), result.m, result.threads);
  const int best = best_peer(result, entrants, options.by_best);
  double worst_error = 0;
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    const EntrantResult& entry = result.entrants[i];
    if (!took_part(entry)) {
      std::fprintf(out, entrants[i].ours() ? " | %23s" : " | %15s", "-");
      continue;
    }
    const double seconds = shown_seconds(entry, options.by_best);
    const double share = bound_seconds(result, entrants[i].precision(), limits, options.isa) / seconds;
    std::fprintf(out, " | %9.4f %4.0f%%", seconds * 1e3, share * 100);
    if (!entrants[i].ours()) {
      if (!(entry.error <= worst_error)) worst_error = entry.error;
    } else if (best >= 0) {
      std::fprintf(out, " %6.2fx", ratio_to(result.entrants[static_cast<std::size_t>(best)], entry, options.by_best));
    } else {
      std::fprintf(out, " %7s", "");
    }
  }
  std::fprintf(out, " | %.1e", worst_error);
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    const EntrantResult& entry = result.entrants[i];
    if (!entrants[i].ours() || !took_part(entry)) continue;
    const bool agrees = best < 0 || entry.error <= worst_error * 1.05;
    std::fprintf(out, " %s %.1e%s", entrants[i].precision().c_str(), entry.error, agrees ? "" : " WORSE");
  }
  std::fputc('\n', out);
  std::fflush(out);
}

void print_summary(std::FILE* out, std::span<const CaseResult> results, std::span<const Entrant> entrants,
                   const Options& options) {
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    if (!entrants[i].ours()) continue;
    double lowest = INFINITY, log_sum = 0;
    std::size_t count = 0, slower = 0;
    std::string where;
    for (const CaseResult& result : results) {
      const int best = best_peer(result, entrants, options.by_best);
      if (best < 0 || !took_part(result.entrants[i])) continue;
      const double ratio =
          ratio_to(result.entrants[static_cast<std::size_t>(best)], result.entrants[i], options.by_best);
      log_sum += std::log(ratio);
      ++count;
      if (ratio < 1) ++slower;
      if (ratio < lowest) {
        lowest = ratio;
        where = result.type.name + " " + std::to_string(result.shape.n) + "x" + std::to_string(result.shape.k) +
                " m=" + std::to_string(result.m) + " threads=" + std::to_string(result.threads);
      }
    }
    if (count == 0) continue;
    std::fprintf(
        out, "%s against the best peer: %.2fx on average (geometric, %zu cases), lowest %.2fx (%s), slower in %zu\n",
        entrants[i].name().c_str(), std::exp(log_sum / static_cast<double>(count)), count, lowest, where.c_str(),
        slower);
  }
}

void write_json(std::FILE* out, std::span<const CaseResult> results, std::span<const Entrant> entrants,
                const LimitsByThreads& limits, const std::string& isa) {
  std::fputs("{\n", out);
  json_limits(out, limits);
  std::fputs("  \"cases\": [", out);
  const char* separator = "\n";
  for (const CaseResult& result : results) {
    std::fprintf(out,
                 "%s    {\"type\": %s, \"n\": %zu, \"k\": %zu, \"m\": %zu, \"threads\": %zu, \"copies\": %zu, "
                 "\"weight_bytes\": %zu, \"entrants\": [",
                 separator, quoted(result.type.name).c_str(), result.shape.n, result.shape.k, result.m, result.threads,
                 result.copies, result.weight_bytes);
    const char* comma = "\n";
    for (std::size_t i = 0; i < entrants.size(); ++i) {
      std::fputs(comma, out);
      const double bound = bound_seconds(result, entrants[i].precision(), limits.at(result.threads), isa);
      json_entrant(out, entrants[i], result.entrants[i], bound);
      comma = ",\n";
    }
    std::fputs("]}", out);
    separator = ",\n";
  }
  std::fputs("]\n}\n", out);
}

}  // namespace peers
