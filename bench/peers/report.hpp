// What was measured, as a table for people and as JSON for scripts.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "entrant.hpp"
#include "measure.hpp"
#include "options.hpp"

namespace peers {

/// Seconds below which this machine cannot do the product: reading the weights or multiplying.
/// `precision` is that of ours; empty is a peer, which multiplies int8.
double bound_seconds(const CaseResult& result, const std::string& precision, const Limits& limits,
                     const std::string& isa);

/// Index of the fastest peer of the case, or -1.
int best_peer(const CaseResult& result, std::span<const Entrant> entrants, bool by_best);

void print_limits(std::FILE* out, std::size_t threads, const Limits& limits);
void print_header(std::FILE* out, std::span<const Entrant> entrants);
void print_case(std::FILE* out, const CaseResult& result, std::span<const Entrant> entrants, const Limits& limits,
                const Options& options);
void print_summary(std::FILE* out, std::span<const CaseResult> results, std::span<const Entrant> entrants,
                   const Options& options);
void write_json(std::FILE* out, std::span<const CaseResult> results, std::span<const Entrant> entrants,
                const LimitsByThreads& limits, const std::string& isa);

}  // namespace peers
