// The self-check of a layer on the user's own weights and machine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "quantlinear/backend.hpp"

namespace quantlinear {

struct VerifyOptions {
  std::vector<std::uint64_t> m = {1, 5, 64};  ///< batch sizes to try: each picks its own kernels
  std::uint64_t seed = 1;                     ///< of the Gaussian activations
  bool outliers = false;                      ///< put one 30-sigma value into every row
  /// Called now and then with rows done and rows in all; may be empty.
  std::function<void(std::uint64_t, std::uint64_t)> progress = {};
};

namespace detail {
/// m * features zeros; out_of_memory if they cannot be had.
[[nodiscard]] Result<std::vector<float>> verify_rows(std::uint64_t m, std::uint64_t features);
/// Deterministic Gaussian activations [m, in_features].
[[nodiscard]] Result<std::vector<float>> verify_activations(std::uint64_t m, std::uint64_t in_features,
                                                            const VerifyOptions& options);
/// The parts of a store with the bytes that it no longer has as in the file, exported.
[[nodiscard]] Result<std::vector<QuantPart>> parts_with_bytes(
    std::span<const QuantPart> parts, std::uint64_t in_features,
    const std::function<Status(std::size_t part, std::span<std::byte> target)>& export_part);
/// Scans the parts for broken blocks.
[[nodiscard]] Result<std::optional<VerifyReport::BrokenBlock>> find_broken_block(std::span<const QuantPart> parts,
                                                                                 std::uint64_t in_features);
/// Compares results with f64 sums over exactly dequantised weights (plus bias). results[i] holds
/// y [m[i], out_features] for the first m[i] rows of x [max m, in_features]; the exact rows are
/// computed once. Rows that two results share must be equal bit for bit as well (NaNs as NaNs).
[[nodiscard]] Result<std::vector<VerifyResult>> compare_with_exact(std::span<const QuantPart> parts,
                                                                   std::uint64_t in_features, std::span<const float> x,
                                                                   std::span<const std::uint64_t> m,
                                                                   std::span<const std::vector<float>> results,
                                                                   Precision precision, const VerifyOptions& options);
}  // namespace detail

/// QuantLinear::verify for any backend. The limits: NMSE 1e-11 (f32), 1e-6 (a16), 1e-4 (a8); with outliers
/// 2e-5 (a16), 5e-3 (a8).
template <Backend B>
[[nodiscard]] Result<VerifyReport> verify_layer(const B& backend, const typename B::QuantStore& store,
                                                const VerifyOptions& options) try {
  VerifyReport report;
  const std::uint64_t in = store.in_features(), out = store.out_features();
  const auto with_bytes = detail::parts_with_bytes(
      store.parts(), in, [&store](std::size_t part, auto target) { return store.export_part(part, target); });
  if (!with_bytes) return std::unexpected(with_bytes.error());
  const std::span<const QuantPart> parts = *with_bytes;
  auto broken = detail::find_broken_block(parts, in);
  if (!broken) return std::unexpected(std::move(broken.error()));
  report.broken_block = *broken;

  // The least exact part decides what the whole layer promises.
  report.precision = Precision::f32;
  for (const PartExplanation& part : backend.explain(store, 1).parts)
    report.precision = std::max(report.precision, part.runs);

  const std::uint64_t most = options.m.empty() ? 0 : *std::ranges::max_element(options.m);
  auto x = detail::verify_activations(most, in, options);
  if (!x) return std::unexpected(std::move(x.error()));
  auto input = backend.allocate(x->size());
  if (!input) return std::unexpected(std::move(input.error()));
  if (auto s = backend.upload(*x, *input); !s) return std::unexpected(std::move(s.error()));
  auto ctx = backend.new_context();
  if (!ctx) return std::unexpected(std::move(ctx.error()));

  std::vector<std::vector<float>> results;
  for (const std::uint64_t m : options.m) {
    auto y = detail::verify_rows(m, out);
    if (!y) return std::unexpected(std::move(y.error()));
    auto buffer = backend.allocate(y->size());
    if (!buffer) return std::unexpected(std::move(buffer.error()));
    const typename B::Input input_view(std::as_const(*input), 0, 0);
    const typename B::Output output_view(*buffer, 0, 0);
    if (auto s = backend.gemm_quant(*ctx, input_view, store, output_view, m); !s) {
      return std::unexpected(std::move(s.error()));
    }
    if (auto s = backend.download(*ctx, *buffer, *y); !s) return std::unexpected(std::move(s.error()));
    results.push_back(std::move(*y));
  }
  auto compared = detail::compare_with_exact(parts, in, *x, options.m, results, report.precision, options);
  if (!compared) return std::unexpected(std::move(compared.error()));
  report.results = std::move(*compared);
  report.passed = !report.broken_block && std::ranges::all_of(report.results, &VerifyResult::passed);
  return report;
} catch (const std::bad_alloc&) {
  return out_of_memory("verify: cannot allocate its results");
}

}  // namespace quantlinear
