// Takes turns: every contestant of a case runs for a moment, again and again, in changing order.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "entrant.hpp"
#include "limits/limits.hpp"
#include "options.hpp"
#include "weights.hpp"

namespace peers {

struct EntrantResult {
  std::string reason;         ///< why it did not take part; else empty
  std::vector<double> turns;  ///< seconds of one product: the median of every turn
  double median = 0;          ///< of the turns
  double best = 0;            ///< fastest product of all turns
  double error = 0;           ///< normalised mean square error against f64
};

struct CaseResult {
  WeightType type;
  Shape shape;
  std::size_t m = 0, threads = 0;
  std::size_t copies = 0;  ///< of the weights, walked through in turn
  std::size_t weight_bytes = 0;
  std::vector<EntrantResult> entrants;  ///< in the order of the entrants
};

/// What the machine can do at most with so many threads, measured before the cases that use as many.
struct Limits {
  std::vector<quantlinear::limits::Rate> rates;
  quantlinear::limits::ReadRate read;

  /// Takes over what `again` measured faster.
  void keep_best(Limits again);
};
using LimitsByThreads = std::map<std::size_t, Limits>;

/// Has every entrant load the weights; those that cannot are out, with a reason.
void load_entrants(std::span<Entrant> entrants, const WeightType& type, const Weights& weights, std::size_t copies,
                   CaseResult& result);

/// Measures the case whose weights are loaded and fills in what load_entrants left open.
void measure_case(std::span<Entrant> entrants, Weights& weights, const Arena& arena, const Options& options,
                  CaseResult& result);

}  // namespace peers
