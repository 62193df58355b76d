#include "cpu/proof.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "cpu/interleave.hpp"

namespace quantlinear::cpu {
namespace {

constexpr std::size_t kRows = 33;  // one more than a work item's granule: full panels and the rest of one
constexpr std::size_t kColumns = 2 * kChunk;
constexpr std::size_t kDifferent = 17;  // columns of several GEMM tiles and a rest; further ones are the same again
constexpr std::size_t kMost = 66;       // a GEMM, even of kernels that have one late
constexpr std::size_t kColumnCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 15, kDifferent, kMost};  // passes of GEMVs, and GEMMs
constexpr std::size_t kWithBias = 3;  // the others without, since it hides the last bits
constexpr std::size_t kNanColumn = 5;
// Floats in rows of a page, and of many, are read by other kernels than those in short ones.
constexpr std::size_t kFloatsApart[] = {4096, 69632};

/// splitmix64: small, and the same on every machine.
struct Random {
  std::uint64_t state;
  std::uint64_t operator()() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
};

/// Zeroed, 64-byte aligned.
class Memory {
 public:
  explicit Memory(std::size_t bytes) : lines_((bytes + 63) / 64) {}
  [[nodiscard]] std::byte* data() { return lines_.data()->bytes; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> lines_;
};

/// Decodes to finite numbers of a size that neither hides others in a sum nor is hidden.
bool moderate(const QuantTypeInfo& info, std::span<const std::byte> block) {
  std::array<float, 256> values{};
  if (!dequantize(info.type, block, std::span(values).first(info.block_elements))) return false;
  float largest = 0;
  for (const float v : std::span(values).first(info.block_elements)) {
    if (!std::isfinite(v)) return false;
    largest = std::max(largest, std::abs(v));
  }
  return largest >= 1e-3f && largest <= 100.0f;
}

/// kRows x kColumns weights of random blocks, found without knowing the type. The first two rows are as near to all
/// zero bits and all one bits as moderate blocks come: the ends of the range of every field.
std::vector<std::byte> weights(const QuantTypeInfo& info) {
  Random random{static_cast<std::uint64_t>(info.type)};
  std::vector<std::vector<std::byte>> pool;
  for (int tries = 0; pool.size() < 24 && tries < 20000; ++tries) {
    std::vector<std::byte> block(info.block_bytes);
    for (std::byte& b : block) b = static_cast<std::byte>(random());
    if (moderate(info, block)) pool.push_back(std::move(block));
  }
  if (pool.empty()) pool.emplace_back(info.block_bytes);  // a type all of whose blocks are small
  for (const std::size_t extreme : {0U, 1U}) {
    std::vector<std::byte> block = pool[0];
    for (std::byte& b : block) {
      const std::byte before = std::exchange(b, extreme == 0 ? std::byte{0} : std::byte{0xff});
      if (!moderate(info, block)) b = before;
    }
    pool.insert(pool.begin() + static_cast<std::ptrdiff_t>(extreme), std::move(block));
  }
  std::vector<std::byte> bytes;
  const std::size_t per_row = kColumns / info.block_elements;
  bytes.reserve(kRows * per_row * info.block_bytes);
  for (std::size_t i = 0; i < kRows * per_row; ++i) {
    const std::vector<std::byte>& block = i < 2 * per_row ? pool[i / per_row] : pool[random() % pool.size()];
    bytes.insert(bytes.end(), block.begin(), block.end());
  }
  return bytes;
}

/// The same rows, `row_bytes` from one to the next, with zeros behind each.
std::vector<std::byte> rows_apart(std::span<const std::byte> rows, std::size_t row_bytes) {
  std::vector<std::byte> apart(kRows * row_bytes);
  const std::size_t size = rows.size() / kRows;
  for (std::size_t i = 0; i < kRows; ++i) std::memcpy(apart.data() + i * row_bytes, rows.data() + i * size, size);
  return apart;
}

/// kMost rows of activations, kDifferent of them: random, but all of them largest, of one sign and of both, tiny, and
/// with a NaN.
std::vector<float> activations() {
  Random random{1};
  std::vector<float> x(kMost * kColumns);
  for (std::size_t i = 0; i < kDifferent * kColumns; ++i) {
    const float value = static_cast<float>(static_cast<std::int32_t>(random() >> 40U) - (1 << 23)) * 0x1p-21f;
    switch (i / kColumns) {
      case 2:
        x[i] = 1;
        break;
      case 3:
        x[i] = value < 0 ? -1.0f : 1.0f;
        break;
      case 4:
        x[i] = value * 1e-36f;
        break;
      default:
        x[i] = value;
    }
  }
  x[kNanColumn * kColumns + 300] = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t i = kDifferent * kColumns; i < x.size(); ++i) x[i] = x[i - kDifferent * kColumns];
  return x;
}

std::vector<float> decode(const FormatKernels& kernels, std::span<const std::byte> blocks, std::size_t count) {
  std::vector<float> values(kRows * kColumns);
  kernels.dequantize(reinterpret_cast<const std::uint8_t*>(blocks.data()), count, values.data());
  return values;
}

/// The activations of m rows as one set prepares them.
struct Prepared {
  ActivationSpec spec;
  Memory values, meta;
  std::array<bool, kMost> finite{};

  Prepared(const InstructionSet& set, const ActivationSpec& wanted, std::span<const float> x, std::size_t m)
      : spec(wanted), values(values_bytes(spec, kColumns, m)), meta(chunks_of(kColumns) * m * meta_bytes(spec) + 1) {
    for (std::size_t i = 0; i < m; ++i) {
      finite[i] = set.prepare_row(spec, x.data() + i * kColumns, kColumns, i, m, values.data(), meta.data());
    }
  }
  /// Of one row, and those beside it.
  [[nodiscard]] bool equals(Prepared& other, std::size_t row, std::size_t m) {
    const auto same = [](Memory& a, Memory& b, std::size_t at, std::size_t size) {
      return std::memcmp(a.data() + at * size, b.data() + at * size, size) == 0;
    };
    const std::size_t side = spec.side_by_side, groups = stored_rows(spec, m) / side;
    bool equal = finite[row] == other.finite[row];
    for (std::size_t chunk = 0; chunk < chunks_of(kColumns); ++chunk) {
      equal = equal &&
              same(values, other.values, chunk * groups + row / side, side * kChunk * value_bytes(spec.precision)) &&
              same(meta, other.meta, chunk * m + row, meta_bytes(spec));
    }
    return equal;
  }
};

std::vector<float> multiply(const ProductKernel& kernel, std::span<const std::byte> w, Prepared& x, std::size_t m,
                            const float* bias, std::size_t interleaved = 0) {
  std::vector<float> y(m * kRows, std::numeric_limits<float>::quiet_NaN());
  Memory scratch(kernel.scratch_bytes(m, kColumns) + 1);
  kernel.run({.weights = reinterpret_cast<const std::uint8_t*>(w.data()),
              .row_bytes = w.size() / kRows,
              .row_begin = 0,
              .row_end = kRows,
              .in_features = kColumns,
              .x = {x.values.data(), x.meta.data(), m},
              .out = y.data(),
              .out_stride = kRows,
              .bias = bias,
              .scratch = scratch.data(),
              .interleaved_rows = interleaved});
  return y;
}

bool same_bits(float a, float b) {
  return (a != a && b != b) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

std::string found_expected(float found, float expected) {
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "found %.9g, expected %.9g", static_cast<double>(found),
                static_cast<double>(expected));
  return text.data();
}

}  // namespace

Proof prove(const InstructionSet& set, const InstructionSet& scalar, GgufQuantType kind, Precision precision) {
  const FormatKernels* kernels = set.find(kind);
  const FormatKernels* reference = scalar.find(kind);
  const QuantTypeInfo* info = quant_type_info(kind);
  if (kernels == nullptr || reference == nullptr || info == nullptr) {
    return {Proof::Fault::missing, "there are none in this build"};
  }
  const std::vector<std::byte> w = weights(*info);
  const std::size_t blocks = kRows * kColumns / info->block_elements;
  const std::vector<float> decoded = decode(*kernels, w, blocks), by_scalar = decode(*reference, w, blocks);
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    if (same_bits(decoded[i], by_scalar[i])) continue;
    return {Proof::Fault::dequantize, "decoded weight " + std::to_string(i % kColumns) + " of row " +
                                          std::to_string(i / kColumns) + ": " +
                                          found_expected(decoded[i], by_scalar[i])};
  }

  const std::vector<float> x = activations();
  const ProductKernel& product = kernels->product[static_cast<std::size_t>(precision)];
  const ProductKernel& by_definition = reference->product[static_cast<std::size_t>(precision)];
  // A row's bits do not depend on m, so the slow side runs once.
  Prepared all(scalar, by_definition.activations(kDifferent), x, kDifferent);
  const std::vector<float> expected = multiply(by_definition, w, all, kDifferent, nullptr);
  const auto check = [&](const ProductKernel& kernel, std::span<const std::byte> bytes, std::size_t interleaved,
                         std::string_view name) -> Proof {
    for (const std::size_t m : kColumnCounts) {
      const ActivationSpec spec = kernel.activations(m);
      Prepared own(set, spec, x, m), defined(scalar, spec, x, m);
      for (std::size_t i = 0; i < m; ++i) {
        if (own.equals(defined, i, m)) continue;
        return {Proof::Fault::prepare_row,
                "input row " + std::to_string(i) + " of " + std::to_string(m) + " is prepared with other bits"};
      }
      const float* bias = m == kWithBias ? x.data() : nullptr;
      const std::vector<float> y = multiply(kernel, bytes, own, m, bias, interleaved);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const float defined_value = expected[i % (kDifferent * kRows)];
        const float value = bias == nullptr ? defined_value : defined_value + bias[i % kRows];
        if (same_bits(y[i], value)) continue;
        return {Proof::Fault::product, std::string(name) + " of weight row " + std::to_string(i % kRows) +
                                           " and input row " + std::to_string(i / kRows) + " of " + std::to_string(m) +
                                           ": " + found_expected(y[i], value)};
      }
    }
    return {};
  };
  Proof proof = check(product, w, 0, "product");
  if (info->block_elements == 1) {
    for (const std::size_t row_bytes : kFloatsApart) {
      if (proof.fault != Proof::Fault::none) return proof;
      proof = check(product, rows_apart(w, row_bytes), 0, "product in long rows");
    }
  }
  if (proof.fault != Proof::Fault::none || precision != Precision::a8 || kernels->interleaved.run == nullptr) {
    return proof;
  }
  const std::size_t row_bytes = w.size() / kRows;
  const auto executor = make_thread_pool({.threads = 1});
  const Result<QuantBytes> copy = interleave({kernels->block, row_bytes, kRows}, w, *executor);
  if (!copy) throw std::bad_alloc();
  return check(kernels->interleaved, copy->bytes(), interleaved_rows(kRows), "interleaved product");
}

const Proof& proof_of(const InstructionSet& set, GgufQuantType kind, Precision precision) {
  // Never destroyed: a layer may still be loaded while the process ends.
  static auto& mutex = *new std::mutex;
  static auto& proofs = *new std::map<std::tuple<const InstructionSet*, GgufQuantType, Precision>, Proof>;
  const InstructionSet& scalar = instruction_sets().front();
  const std::scoped_lock lock(mutex);
  const auto key = std::tuple(&set, kind, precision);
  if (const auto known = proofs.find(key); known != proofs.end()) return known->second;
  // Scalar is the definition.
  return proofs.emplace(key, &set == &scalar ? Proof{} : prove(set, scalar, kind, precision)).first->second;
}

Result<ProvedSet> first_proved(std::span<const InstructionSet* const> choices, GgufQuantType kind, Precision precision,
                               Prover proof) {
  ProvedSet result;
  for (const InstructionSet* set : choices) {
    const Proof& found = proof(*set, kind, precision);
    if (found.fault == Proof::Fault::none) {
      if (!result.reason.empty()) result.reason += "; using " + std::string(set->name);
      result.set = set;
      return result;
    }
    result.reason += (result.reason.empty() ? "" : "; ") + std::string(set->name) + " kernels of " +
                     std::string(to_string(kind)) + " " + std::string(to_string(precision)) +
                     " failed their proof: " + found.where;
  }
  return fail(ErrorCode::unsupported, "cpu: " + result.reason);
}

}  // namespace quantlinear::cpu
