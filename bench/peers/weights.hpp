// Weights and activations of a comparison, and the exact product that everybody is checked against.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "arena.hpp"
#include "contestant.hpp"
#include "entrant.hpp"
#include "options.hpp"

namespace peers {

/// Normally distributed weights, quantised and decoded by a peer where one can, so that block scales
/// are those of a real model. A matrix repeats `distinct_rows` rows: few enough for the slow
/// quantisers, and a prime number, so that no kernel's row group sees the same row twice.
class Weights {
 public:
  static constexpr std::size_t distinct_rows = 127;

  /// Puts the n x k blocks into the arena. Throws std::runtime_error if no entrant can make them.
  Weights(const WeightType& type, Shape shape, std::span<Entrant> entrants, const Arena& arena);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t n() const noexcept { return shape_.n; }
  [[nodiscard]] std::size_t k() const noexcept { return shape_.k; }

  /// Puts m x k normally distributed activations into the arena.
  void make_activations(std::size_t m, const Arena& arena) const;

  /// sum (y - exact)^2 / sum exact^2 of the m x n results in the arena, over all weight rows and up
  /// to 32 of the activation rows, the first and the last among them. NaN results give NaN.
  [[nodiscard]] double error_of_outputs(std::size_t m, const Arena& arena);

 private:
  void compute_exact(std::size_t m, const Arena& arena);

  Shape shape_;
  std::size_t bytes_ = 0, period_ = 0;
  std::vector<float> decoded_;        ///< period x k
  std::vector<std::size_t> checked_;  ///< activation rows
  std::vector<double> exact_;         ///< checked x period
  std::size_t exact_m_ = 0;
};

}  // namespace peers
