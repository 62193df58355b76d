// Kernels prove themselves before they are used: on this machine, once per process, against the scalar ones.
// A machine, an emulator or a compiler with a fault then costs speed, not right results.
#pragma once

#include <span>
#include <string>

#include "cpu/kernel_table.hpp"
#include "quantlinear/error.hpp"

namespace quantlinear::cpu {

/// What a proof found.
struct Proof {
  enum class Fault : std::uint8_t { none, missing, prepare_row, product, dequantize };
  Fault fault = Fault::none;
  /// Where bits first differ, e.g. "product of weight row 3 and input row 1 of 17: found 0.5, expected 0.25".
  std::string where = {};
};

/// Runs the kernels of `set` for one weight type and precision on one small matrix with moderate, extreme
/// and broken rows, of 512 columns, for one to eight rows of activations, 15, 17 and 66, and compares bits (any NaN
/// equals any other) with `scalar`. Activations are compared first, so that a fault of prepare_row is not laid on the
/// product. The same numbers in every run. May throw std::bad_alloc.
[[nodiscard]] Proof prove(const InstructionSet& set, const InstructionSet& scalar, GgufQuantType kind,
                          Precision precision);

/// prove() for a set of instruction_sets(), once per process: later calls return the same object. Thread-safe.
[[nodiscard]] const Proof& proof_of(const InstructionSet& set, GgufQuantType kind, Precision precision);

using Prover = const Proof& (*)(const InstructionSet&, GgufQuantType, Precision);

/// The instruction set that one part of a layer runs.
struct ProvedSet {
  const InstructionSet* set = nullptr;
  std::string reason = {};  ///< why not the first choice; empty if it is
};

/// The first of `choices` whose proof passes; `unsupported`, naming every fault, if none does.
[[nodiscard]] Result<ProvedSet> first_proved(std::span<const InstructionSet* const> choices, GgufQuantType kind,
                                             Precision precision, Prover proof = proof_of);

}  // namespace quantlinear::cpu
