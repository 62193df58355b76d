#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace peers {
namespace {

/// Runs `step` for an entrant that is still in; what it throws puts the entrant out.
void attempt(EntrantResult& result, const std::function<void()>& step) {
  if (!result.reason.empty()) return;
  try {
    step();
  } catch (const std::runtime_error& error) {
    result.reason = error.what();
  }
}

void take_turn(Entrant& entrant, EntrantResult& result, const Options& options, std::size_t copies) {
  double best = 0, median = 0;
  const std::string clock = options.cpu_time ? " cpu" : " wall";
  std::istringstream(entrant.ask("run " + std::to_string(options.seconds) + clock)) >> best >> median;
  const double products = static_cast<double>(copies);
  result.best = std::min(result.best, best / products);
  result.turns.push_back(median / products);
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

void Limits::keep_best(Limits again) {
  if (rates.empty()) rates = again.rates;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    if (again.rates[i].macs_per_second > rates[i].macs_per_second) rates[i] = std::move(again.rates[i]);
  }
  read.bytes_per_second = std::max(read.bytes_per_second, again.read.bytes_per_second);
  read.huge_page_bytes_per_second = std::max(read.huge_page_bytes_per_second, again.read.huge_page_bytes_per_second);
}

void load_entrants(std::span<Entrant> entrants, const WeightType& type, const Weights& weights, std::size_t copies,
                   CaseResult& result) {
  result.type = type;
  result.copies = copies;
  result.weight_bytes = weights.bytes();
  result.entrants.assign(entrants.size(), {});
  const std::string request = "load " + std::to_string(type.id) + ' ' + type.name + ' ' + std::to_string(weights.n()) +
                              ' ' + std::to_string(weights.k()) + ' ' + std::to_string(copies);
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    attempt(result.entrants[i], [&] { entrants[i].ask(request); });
  }
}

void measure_case(std::span<Entrant> entrants, Weights& weights, const Arena& arena, const Options& options,
                  CaseResult& result) {
  const std::string prepare = "prepare " + std::to_string(result.m) + ' ' + std::to_string(result.threads);
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    EntrantResult& entrant = result.entrants[i];
    entrant.best = std::numeric_limits<double>::infinity();
    attempt(entrant, [&] { entrants[i].ask(prepare); });
  }
  for (std::size_t round = 0; round < options.rounds; ++round) {
    for (std::size_t turn = 0; turn < entrants.size(); ++turn) {
      // Forwards and backwards in turn, so that nobody always follows the same one.
      const std::size_t i = round % 2 == 0 ? turn : entrants.size() - 1 - turn;
      EntrantResult& entrant = result.entrants[i];
      attempt(entrant, [&] { take_turn(entrants[i], entrant, options, result.copies); });
      std::this_thread::sleep_for(std::chrono::duration<double>(options.pause));
    }
  }
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    EntrantResult& entrant = result.entrants[i];
    entrant.median = median_of(entrant.turns);
    attempt(entrant, [&] {
      entrants[i].ask("result");
      entrant.error = weights.error_of_outputs(result.m, arena);
    });
  }
}

}  // namespace peers
