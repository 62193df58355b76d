// How one forward of a store is carried out: which preparations, how much scratch, which pieces.
// Pure arithmetic on the store and m; `memory_plan` and `gemm_quant` use the same object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cpu/inplace_vector.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/proof.hpp"
#include "quantlinear/backend.hpp"

namespace quantlinear::cpu {

/// One part of a store as the kernels see it.
struct PartKernels {
  const InstructionSet* set = nullptr;  ///< whose kernels these are
  const FormatKernels* format = nullptr;
  const ProductKernel* product = nullptr;
  std::size_t row_bytes = 0;
  std::size_t first_column = 0;  ///< of its outputs
  std::string reason = {};       ///< why not the first choice of sets, or not the layout asked for; empty if it is
  /// Rows of the copy that an interleaved part multiplies; 0: as in the file.
  std::size_t interleaved_rows = 0;
  const std::byte* weights = nullptr;  ///< once loaded
};

/// Everything about a store that does not depend on m.
struct LayerKernels {
  std::size_t in_features = 0;
  std::size_t out_features = 0;
  std::vector<PartKernels> parts;
};

/// Chooses the kernels of every part: of the first of `choices` that proves itself for it (proof.hpp).
/// `unsupported` if none does. Of these, the interleaved ones where `layout` asks for them and there are.
[[nodiscard]] Result<LayerKernels> choose_kernels(std::span<const InstructionSet* const> choices,
                                                  std::span<const QuantPart> parts, std::uint64_t in_features,
                                                  std::uint64_t out_features, Precision precision, StoreLayout layout,
                                                  Prover proof = proof_of);

/// a / b rounded up, 0 if b is 0. Does not overflow. By one, as most often in a plan, it does not take a division.
constexpr std::uint64_t ceil_divide(std::uint64_t a, std::uint64_t b) {
  return b <= 1 ? a * b : a / b + (a % b != 0 ? 1 : 0);
}

/// m rows are multiplied in pieces of up to kMaxColumns, of nearly equal size, so that all are in the same regime
/// of their kernels.
struct Pieces {
  std::size_t count = 0;
  std::size_t columns = 0;  ///< activation rows of the largest

  explicit Pieces(std::uint64_t m) : count(ceil_divide(m, kMaxColumns)), columns(ceil_divide(m, count)) {}
  /// Calls body(index, first row, rows) for each piece.
  template <class Body>
  void for_each(std::uint64_t m, Body body) const {
    std::uint64_t done = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t rows = ceil_divide(m - done, count - i);
      body(i, done, rows);
      done += rows;
    }
  }
};

/// How the activations of one piece stand in a block of memory: every distinct preparation once, whoever needs it.
struct PreparedLayout {
  struct Entry {
    ActivationSpec spec;
    PrepareRow prepare_row = nullptr;  ///< of a set that was proved with the spec
    std::size_t values_at = 0, meta_at = 0;
  };
  /// More than there are different specs in the whole table (tests/kernels_test.cpp counts them), so that a forward
  /// needs no allocation for its plan.
  static constexpr std::size_t kMostEntries = 32;

  InplaceVector<Entry, kMostEntries> entries;
  std::size_t finite_at = 0;  ///< one byte per row: is it finite
  std::size_t bytes = 0;

  [[nodiscard]] std::span<const Entry> all() const { return entries.all(); }
  /// The entry of a spec, or null.
  [[nodiscard]] const Entry* find(const ActivationSpec& spec) const;
};

/// What `kernel` wants for pieces of `columns` rows.
[[nodiscard]] inline ActivationSpec spec_of(const ProductKernel& kernel, std::size_t columns) {
  return kernel.activations(columns == 0 ? 1 : columns);
}

/// The preparations that these layers, all of equal in_features, need for pieces of `columns` rows.
[[nodiscard]] PreparedLayout layout_prepared(std::span<const LayerKernels* const> layers, std::size_t columns);

/// The division of work for pieces of up to `pieces.columns` rows.
struct ForwardPlan {
  Pieces pieces{0};
  std::size_t lanes = 1;              ///< workers that share the rows
  std::size_t granules_per_item = 1;  ///< work item: this many times kRowGranule rows
  std::size_t items = 0;
  std::size_t lane_bytes = 0;  ///< scratch of each lane
  /// The scratch block: `prepared` first, then the lanes.
  PreparedLayout prepared;
  std::size_t bytes = 0;
};

[[nodiscard]] ForwardPlan plan_forward(const LayerKernels& layer, std::span<const QuantPart> parts, std::uint64_t m,
                                       std::size_t threads);

/// As plan_forward with activations that are prepared elsewhere: the scratch block is the lanes alone.
[[nodiscard]] ForwardPlan plan_lanes(const LayerKernels& layer, std::span<const QuantPart> parts, std::uint64_t m,
                                     std::size_t threads);

}  // namespace quantlinear::cpu
