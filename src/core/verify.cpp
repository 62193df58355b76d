#include "quantlinear/verify.hpp"

#include <cmath>
#include <cstring>
#include <new>
#include <numbers>
#include <string>

namespace quantlinear::detail {
namespace {

/// SplitMix64: small, and the same numbers with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In (0, 1).
  double uniform() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }
  double gaussian() { return std::sqrt(-2.0 * std::log(uniform())) * std::cos(2.0 * std::numbers::pi * uniform()); }

 private:
  std::uint64_t state_;
};

/// sum x[k] * w[k] in f64; eight sums side by side so that compilers vectorise it.
double dot(const float* x, const float* w, std::size_t count) {
  double sum[8] = {};
  std::size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    for (std::size_t l = 0; l < 8; ++l) sum[l] += static_cast<double>(x[k + l]) * static_cast<double>(w[k + l]);
  }
  for (; k < count; ++k) sum[0] += static_cast<double>(x[k]) * static_cast<double>(w[k]);
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

double limit_of(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return 1e-11;
    case Precision::a16:
      return 1e-6;
    case Precision::a8:
      return 1e-4;
  }
  return 0;
}

/// What is summed up for one m.
struct Tally {
  double error = 0, power = 0, most = 0;
  bool broken = false;  ///< finite where the exact value is not, or the other way round, or unequal bits
};

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

Result<std::vector<float>> verify_activations(std::uint64_t m, std::uint64_t in_features,
                                              const VerifyOptions& options) try {
  std::vector<float> x(m * in_features);
  Random random(options.seed);
  for (float& v : x) v = static_cast<float>(random.gaussian());
  if (options.outliers && in_features != 0) {
    for (std::uint64_t i = 0; i < m; ++i) x[i * in_features + random.next() % in_features] = 30.0f;
  }
  return x;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::out_of_memory,
              "verify: cannot allocate " + std::to_string(m) + " x " + std::to_string(in_features) + " activations");
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
  std::vector<float> w(in_features);
  std::uint64_t column = 0;
  for (const QuantPart& part : parts) {
    const Result<std::uint64_t> bytes = row_bytes(part.kind, in_features);
    if (!bytes) return std::unexpected(bytes.error());
    for (std::uint64_t row = 0; row < part.rows; ++row, ++column) {
      if (Status s = dequantize(part.kind, part.bytes.bytes().subspan(row * *bytes, *bytes), w); !s) {
        return std::unexpected(s.error());
      }
      for (std::uint64_t i = 0; i < most; ++i) {
        double exact = dot(x.data() + i * in_features, w.data(), in_features);
        if (!part.bias.empty()) exact += static_cast<double>(part.bias[row]);
        const float reference = results[longest][i * out_features + column];
        for (std::size_t r = 0; r < m.size(); ++r) {
          if (i >= m[r]) continue;
          const float y = results[r][i * out_features + column];
          Tally& t = tallies[r];
          t.broken |= !same_bits(y, reference) || std::isfinite(exact) != std::isfinite(y);
          if (!std::isfinite(exact) || !std::isfinite(y)) continue;
          const double error = static_cast<double>(y) - exact;
          t.error += error * error;
          t.power += exact * exact;
          t.most = std::max(t.most, std::abs(error));
        }
      }
      if (options.progress && column % 256 == 0) options.progress(column, out_features);
    }
  }
  if (options.progress) options.progress(out_features, out_features);
  std::vector<VerifyResult> verdicts;
  for (std::size_t r = 0; r < m.size(); ++r) {
    const Tally& t = tallies[r];
    VerifyResult v;
    v.m = m[r];
    v.nmse = t.error == 0 ? 0 : t.error / t.power;
    v.max_abs_error = t.most;
    v.nmse_limit = limit_of(precision);
    v.passed = !t.broken && v.nmse <= v.nmse_limit;
    verdicts.push_back(v);
  }
  return verdicts;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::out_of_memory, "verify: cannot allocate a row of " + std::to_string(in_features) + " weights");
}

}  // namespace quantlinear::detail
