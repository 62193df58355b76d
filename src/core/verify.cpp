#include "quantlinear/verify.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

namespace quantlinear::detail {
namespace {

constexpr float kOutlier = 30.0f;

/// SplitMix64, and a Gaussian made of sums alone: the same numbers with every compiler and library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// The sum of twelve uniform values has variance 1, and is Gaussian but for its tails beyond 4.
  double gaussian() {
    std::uint64_t sum = 0;
    for (int i = 0; i < 6; ++i) {
      const std::uint64_t two = next();
      sum += (two >> 32) + (two & 0xffffffffu);
    }
    return static_cast<double>(sum) * 0x1p-32 - 6.0;
  }

 private:
  std::uint64_t state_;
};

/// sum x[k] * w[k]; eight sums side by side so that compilers vectorise it.
template <class T>
double dot(const T* x, const double* w, std::size_t count) {
  double sum[8] = {};
  std::size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    for (std::size_t l = 0; l < 8; ++l) sum[l] += static_cast<double>(x[k + l]) * w[k + l];
  }
  for (; k < count; ++k) sum[0] += static_cast<double>(x[k]) * w[k];
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/// What docs/numerics.md promises for Gaussian activations. An outlier sets the scale of its whole block:
/// the bound is then the rounding error of such a block, (30 / max_q)^2 / 12 with max_q 127 or 2047.
double limit_of(Precision precision, bool outliers) {
  switch (precision) {
    case Precision::f32:
      return 1e-11;
    case Precision::a16:
      return outliers ? 2e-5 : 1e-6;
    case Precision::a8:
      return outliers ? 5e-3 : 1e-4;
  }
  return 0;
}

/// One result against the exact values: what is summed up for one m.
struct Tally {
  double error = 0, power = 0, expected_power = 0, most = 0;
  bool broken = false;

  void add(float y, double exact) {
    if (!std::isfinite(exact)) {
      broken |= std::isfinite(y);
    } else if (!std::isfinite(y)) {
      // An f32 result may overflow where the f64 sum does not.
      broken |= !(std::abs(exact) > static_cast<double>(std::numeric_limits<float>::max()) / 2) || std::isnan(y);
    } else {
      const double difference = static_cast<double>(y) - exact;
      error += difference * difference;
      power += exact * exact;
      most = std::max(most, std::abs(difference));
    }
  }
};

bool same_value(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

}  // namespace

Result<std::vector<float>> verify_rows(std::uint64_t m, std::uint64_t features) {
  std::uint64_t count = 0;
  if (!__builtin_mul_overflow(m, features, &count)) {
    try {
      return std::vector<float>(count);
    } catch (const std::bad_alloc&) {     // too much for this machine
    } catch (const std::length_error&) {  // too much for any
    }
  }
  return out_of_memory("verify: cannot allocate ", m, " rows of ", features, " floats");
}

Result<std::vector<float>> verify_activations(std::uint64_t m, std::uint64_t in_features,
                                              const VerifyOptions& options) {
  Result<std::vector<float>> x = verify_rows(m, in_features);
  if (!x || x->empty()) return x;
  Random random(options.seed);
  for (float& v : *x) v = static_cast<float>(random.gaussian());
  if (options.outliers) {
    for (std::uint64_t i = 0; i < m; ++i) (*x)[i * in_features + random.next() % in_features] = kOutlier;
  }
  return x;
}

Result<std::vector<QuantPart>> parts_with_bytes(
    std::span<const QuantPart> parts, std::uint64_t in_features,
    const std::function<Status(std::size_t part, std::span<std::byte> target)>& export_part) try {
  std::vector<QuantPart> result(parts.begin(), parts.end());
  for (std::size_t p = 0; p < result.size(); ++p) {
    const Result<std::uint64_t> size = matrix_bytes(result[p].kind, result[p].rows, in_features);
    if (!size) return std::unexpected(size.error());
    if (result[p].bytes.size() == *size) continue;
    std::vector<std::byte> bytes(*size);
    if (Status s = export_part(p, bytes); !s) return std::unexpected(std::move(s.error()));
    result[p].bytes = QuantBytes::own(std::move(bytes));
  }
  return result;
} catch (const std::bad_alloc&) {
  return out_of_memory("verify: cannot allocate the exported weights");
}

Result<std::optional<VerifyReport::BrokenBlock>> find_broken_block(std::span<const QuantPart> parts,
                                                                   std::uint64_t in_features) {
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const Result<std::optional<std::uint64_t>> found = find_non_finite_block(parts[p].kind, parts[p].bytes.bytes());
    if (!found) return std::unexpected(found.error());
    if (!*found) continue;
    const QuantTypeInfo& info = *quant_type_info(parts[p].kind);
    const std::uint64_t per_row = in_features / info.block_elements;
    return VerifyReport::BrokenBlock{p, **found / per_row, **found % per_row, **found * info.block_bytes};
  }
  return std::nullopt;
}

Result<std::vector<VerifyResult>> compare_with_exact(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                     std::span<const float> x, std::span<const std::uint64_t> m,
                                                     std::span<const std::vector<float>> results, Precision precision,
                                                     const VerifyOptions& options) try {
  std::uint64_t out_features = 0, most = 0;
  std::size_t longest = 0;
  for (const QuantPart& part : parts) out_features += part.rows;
  for (std::size_t i = 0; i < m.size(); ++i) {
    if (m[i] > most) most = m[i], longest = i;
  }
  std::vector<Tally> tallies(m.size());
  double row_powers = 0, row_powers_squared = 0;
  std::vector<float> decoded(in_features);
  std::vector<double> w(in_features);
  std::uint64_t column = 0;
  for (const QuantPart& part : parts) {
    const Result<std::uint64_t> bytes = row_bytes(part.kind, in_features);
    if (!bytes) return std::unexpected(bytes.error());
    for (std::uint64_t row = 0; row < part.rows; ++row, ++column) {
      if (Status s = dequantize(part.kind, part.bytes.bytes().subspan(row * *bytes, *bytes), decoded); !s) {
        return std::unexpected(std::move(s.error()));
      }
      std::ranges::copy(decoded, w.begin());
      if (const double power = dot(w.data(), w.data(), in_features); std::isfinite(power)) {
        row_powers += power;
        row_powers_squared += power * power;
        for (std::size_t r = 0; r < m.size(); ++r) tallies[r].expected_power += power * static_cast<double>(m[r]);
      }
      for (std::uint64_t i = 0; i < most; ++i) {
        double exact = dot(x.data() + i * in_features, w.data(), in_features);
        if (!part.bias.empty()) exact += static_cast<double>(part.bias[row]);
        const std::uint64_t at = i * out_features + column;
        for (std::size_t r = 0; r < m.size(); ++r) {
          if (i >= m[r]) continue;
          tallies[r].add(results[r][at], exact);
          tallies[r].broken |= !same_value(results[r][at], results[longest][at]);
        }
      }
      if (options.progress && column % 256 == 0) options.progress(column, out_features);
    }
  }
  if (options.progress) options.progress(out_features, out_features);
  // The promise is about the mean of many outputs. The mean of n squares of Gaussian errors scatters by
  // sqrt(2 / n) of itself; five times that is allowed for. Rows of larger weights count for more.
  const double rows = row_powers_squared > 0 ? row_powers * row_powers / row_powers_squared : 1;
  const double limit = limit_of(precision, options.outliers) * (1 + 5 * std::sqrt(2 / rows));
  std::vector<VerifyResult> verdicts;
  for (std::size_t r = 0; r < m.size(); ++r) {
    const Tally& t = tallies[r];
    VerifyResult v;
    v.m = m[r];
    v.nmse = t.error == 0 ? 0 : t.error / std::max(t.power, t.expected_power);
    v.max_abs_error = t.most;
    v.nmse_limit = limit;
    v.passed = !t.broken && v.nmse <= v.nmse_limit;
    verdicts.push_back(v);
  }
  return verdicts;
} catch (const std::bad_alloc&) {
  return out_of_memory("verify: cannot allocate a row of ", in_features, " weights");
} catch (const std::length_error&) {
  return out_of_memory("verify: cannot allocate a row of ", in_features, " weights");
}

}  // namespace quantlinear::detail
