// The worker's half of the line protocol: one request a line, one answer a line, "ok ..." or "no REASON".
#include <dirent.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <exception>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "arena.hpp"
#include "contestant.hpp"

namespace peers {
namespace {

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::vector<int> parse_cpus(const char* list) {
  std::vector<int> cpus;
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) cpus.push_back(std::stoi(item));
  return cpus;
}

/// Binds every thread of this process to the first `threads` CPUs: threads made later inherit it.
void bind_threads(const std::vector<int>& cpus, std::size_t threads) {
  if (cpus.size() < threads) throw std::runtime_error("fewer CPUs than threads");
  cpu_set_t set;
  CPU_ZERO(&set);
  for (std::size_t i = 0; i < threads; ++i) CPU_SET(static_cast<std::size_t>(cpus[i]), &set);
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), closedir);
  if (!tasks) throw std::runtime_error("cannot list the threads of this process");
  while (const dirent* entry = readdir(tasks.get())) {
    if (entry->d_name[0] == '.') continue;
    if (sched_setaffinity(std::stoi(entry->d_name), sizeof set, &set) != 0) {
      throw std::runtime_error("sched_setaffinity failed");
    }
  }
}

/// Passes until `min_seconds` are over, at least one; the first is a warm-up unless it is long.
std::string run(Contestant& contestant, double min_seconds, clockid_t clock, bool& warm) {
  constexpr double long_pass = 0.25;
  constexpr std::size_t most_passes = 4096;
  std::vector<double> times;
  const auto timed = [&] {
    const double start = now(clock);
    contestant.pass();
    return now(clock) - start;
  };
  const double first = timed();
  if (first > long_pass && warm) times.push_back(first);
  warm = true;
  const double end = now(clock) + min_seconds;
  while (times.empty() || (now(clock) < end && times.size() < most_passes)) times.push_back(timed());
  std::sort(times.begin(), times.end());
  std::ostringstream out;
  out.precision(9);
  out << times.front() << ' ' << times[times.size() / 2] << ' ' << times.size();
  return out.str();
}

class Session {
 public:
  Session(Contestant& contestant, const Arena& arena, std::vector<int> cpus)
      : contestant_(contestant), arena_(arena), cpus_(std::move(cpus)) {}

  std::string answer(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "block") {
      const BlockShape shape = contestant_.block(read_type(in));
      return std::to_string(shape.elements) + ' ' + std::to_string(shape.bytes);
    }
    if (command == "quantize" || command == "dequantize") {
      const WeightType type = read_type(in);
      std::size_t rows = 0, k = 0;
      in >> rows >> k;
      if (command == "quantize") {
        contestant_.quantize(type, rows, k, arena_.scratch(), arena_.weights());
      } else {
        contestant_.dequantize(type, rows, k, arena_.weights(), arena_.scratch());
      }
      return {};
    }
    if (command == "load") {
      const WeightType type = read_type(in);
      std::size_t n = 0, k = 0, copies = 0;
      in >> n >> k >> copies;
      bind_threads(cpus_, 1);
      contestant_.load(type, n, k, copies, arena_.weights());
      return {};
    }
    if (command == "prepare") {
      std::size_t m = 0, threads = 0;
      in >> m >> threads;
      bind_threads(cpus_, threads);
      contestant_.prepare(m, threads, arena_.activations());
      warm_ = false;
      return {};
    }
    if (command == "run") {
      double min_seconds = 0;
      std::string clock;
      in >> min_seconds >> clock;
      return run(contestant_, min_seconds, clock == "cpu" ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, warm_);
    }
    if (command == "result") {
      contestant_.result(arena_.outputs());
      return {};
    }
    if (command == "unload") {
      contestant_.unload();
      return {};
    }
    throw std::runtime_error("unknown request: " + line);
  }

 private:
  static WeightType read_type(std::istream& in) {
    WeightType type;
    in >> type.id >> type.name;
    return type;
  }

  Contestant& contestant_;
  const Arena& arena_;
  std::vector<int> cpus_;
  bool warm_ = false;
};

}  // namespace

int serve(Contestant& contestant, int arena_descriptor, const char* cpus) {
  const Arena arena = Arena::open(arena_descriptor);
  Session session(contestant, arena, parse_cpus(cpus));
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(fdopen(3, "r"), fclose), out(fdopen(4, "w"), fclose);
  if (!in || !out) return 1;
  std::string line;
  for (int c = 0; (c = std::fgetc(in.get())) != EOF;) {
    if (c != '\n') {
      line.push_back(static_cast<char>(c));
      continue;
    }
    if (line == "quit") break;
    std::string reply;
    try {
      reply = "ok " + session.answer(line);
    } catch (const std::exception& error) {
      reply = std::string("no ") + error.what();
    }
    std::replace(reply.begin(), reply.end(), '\n', ' ');
    std::fprintf(out.get(), "%s\n", reply.c_str());
    std::fflush(out.get());
    line.clear();
  }
  return 0;
}

}  // namespace peers
