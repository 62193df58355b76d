// Ours and installed ggml libraries in turn, on the same weights and activations: times, ratios, shares
// of the machine's limits, and errors. Every contestant is a process of its own (see README.md).
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "arena.hpp"
#include "entrant.hpp"
#include "measure.hpp"
#include "options.hpp"
#include "report.hpp"
#include "weights.hpp"

namespace peers {
namespace {

std::vector<Entrant> make_entrants(const Options& options, const Arena& arena) {
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::string cpus;
  for (const int cpu : options.cpus) {
    if (!cpus.empty()) cpus += ',';
    cpus += std::to_string(cpu);
  }
  std::vector<Entrant> entrants;
  for (const PeerFolder& peer : options.peers) {
    for (const char* mode : {"plain", "repack"}) {
      const std::vector<std::string> command = {here / "peer_ggml", peer.folder, mode};
      entrants.emplace_back(peer.name + " " + mode, "", command, arena, cpus, options.worker_log);
    }
  }
  for (const std::string& precision : options.precisions) {
    for (const char* mode : {"plain", "repack"}) {
      if (mode == std::string_view("repack") && (!options.repack || precision != "a8")) continue;
      const std::vector<std::string> command = {here / "peer_ours", precision, mode,
                                                options.isa.empty() ? "-" : options.isa};
      const std::string name = "ours " + precision + (mode == std::string_view("repack") ? " repack" : "");
      entrants.emplace_back(name, precision, command, arena, cpus, options.worker_log);
    }
  }
  return entrants;
}

/// Few rows are about reading the weights, so they must come from memory; many are about arithmetic.
std::size_t copies_for(std::size_t m, std::size_t weight_bytes, std::size_t cache_bytes) {
  constexpr std::size_t arithmetic_from = 64, most_copies = 1024;
  if (m >= arithmetic_from) return 1;
  return std::clamp<std::size_t>((4 * cache_bytes + weight_bytes - 1) / weight_bytes, 1, most_copies);
}

/// Measures the limits and keeps the best ever seen: a disturbed measurement must not flatter anybody.
void measure_limits(std::size_t threads, const Options& options, Limits& limits) {
  quantlinear::limits::Options how;
  how.cpu_time = options.cpu_time;
  how.cpus.assign(options.cpus.begin(), options.cpus.begin() + static_cast<std::ptrdiff_t>(threads));
  limits.keep_best(
      {quantlinear::limits::instruction_rates(threads, how), quantlinear::limits::streamed_read(threads, how)});
}

class Comparison {
 public:
  explicit Comparison(const Options& options)
      : options_(options), arena_(Arena::create()), entrants_(make_entrants(options, arena_)) {}

  void run() {
    for (const std::size_t threads : options_.threads) measure_limits(threads, options_, limits_[threads]);
    print_header(stdout, entrants_);
    for (const Shape shape : options_.shapes) {
      for (const WeightType& type : options_.types) {
        try {
          run_weights(type, shape);
        } catch (const std::runtime_error& error) {
          std::printf("%-8s %zux%zu: %s\n", type.name.c_str(), shape.n, shape.k, error.what());
        }
        arena_.clear();
        if (!options_.json.empty()) save();  // what was measured outlives an interruption
      }
    }
    print_reasons();
    for (const auto& [threads, limits] : limits_) print_limits(stdout, threads, limits);
    print_summary(stdout, results_, entrants_, options_);
  }

 private:
  void run_weights(const WeightType& type, Shape shape) {
    Weights weights(type, shape, entrants_, arena_);
    CaseResult loaded;
    loaded.shape = shape;
    for (const std::size_t threads : options_.threads) measure_limits(threads, options_, limits_[threads]);
    for (const std::size_t m : options_.ms) {
      const std::size_t copies = copies_for(m, weights.bytes(), options_.cache_bytes);
      if (copies != loaded.copies) load_entrants(entrants_, type, weights, copies, loaded);
      weights.make_activations(m, arena_);
      for (const std::size_t threads : options_.threads) {
        CaseResult result = loaded;
        result.m = m;
        result.threads = threads;
        measure_case(entrants_, weights, arena_, options_, result);
        print_case(stdout, result, entrants_, limits_[threads], options_);
        results_.push_back(std::move(result));
      }
    }
  }

  /// Why entrants did not take part, each reason once.
  void print_reasons() const {
    std::vector<std::string> said;
    for (const CaseResult& result : results_) {
      for (std::size_t i = 0; i < entrants_.size(); ++i) {
        if (result.entrants[i].reason.empty()) continue;
        const std::string line = entrants_[i].name() + ": " + result.entrants[i].reason;
        if (std::ranges::find(said, line) != said.end()) continue;
        std::printf("%s\n", line.c_str());
        said.push_back(line);
      }
    }
  }

  void save() const {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(options_.json.c_str(), "w"), std::fclose);
    if (!file) throw std::runtime_error("cannot write " + options_.json.string());
    write_json(file.get(), results_, entrants_, limits_, options_.isa);
  }

  const Options& options_;
  Arena arena_;
  std::vector<Entrant> entrants_;
  LimitsByThreads limits_;
  std::vector<CaseResult> results_;
};

}  // namespace
}  // namespace peers

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a worker that died is reported, not fatal
  try {
    const peers::Options options = peers::parse_options(argc, argv);
    if (options.help) {
      std::fputs(peers::usage, stdout);
      return 0;
    }
    peers::Comparison(options).run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "compare_peers: %s\n", error.what());
    return 1;
  }
}
