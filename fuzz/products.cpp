// Any bytes as weights and activations: every instruction set that the machine runs, in either layout, gives the bits
// of the scalar one, and reads nothing beside them. NaNs count as equal.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"

namespace {

using namespace quantlinear;
using Layer = QuantLinear<CpuBackend>;

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what.c_str());
  std::abort();
}

/// A backend for every usable set, scalar first.
const std::vector<CpuBackend>& backends() {
  static const std::vector<CpuBackend> all = [] {
    std::vector<CpuBackend> made;
    for (const InstructionSetInfo& set : CpuBackend::instruction_sets()) {
      if (!set.usable) continue;
      CpuOptions options;
      options.instruction_set = set.name;
      options.threads.threads = 1;
      made.emplace_back(options);
    }
    return made;
  }();
  return all;
}

/// What a case is made of: five choices, and bytes that are repeated with a shift until there are enough.
struct Case {
  const QuantTypeInfo& type;
  Precision precision;
  std::uint64_t rows, columns, m;
  std::span<const std::uint8_t> source;

  [[nodiscard]] std::vector<std::byte> bytes(std::size_t count, std::size_t from) const {
    std::vector<std::byte> result(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = from + i;
      result[i] = static_cast<std::byte>(source[at % source.size()] + at / source.size());
    }
    return result;
  }
};

std::vector<float> product(const CpuBackend& backend, const Case& c, StoreLayout layout, std::span<const float> x) {
  QuantBytes weights = QuantBytes::own(c.bytes(*matrix_bytes(c.type.type, c.rows, c.columns), 0));
  const auto layer = Layer::from_gguf_bytes(backend, c.type.type, std::move(weights), c.rows, c.columns,
                                            {.precision = c.precision, .layout = layout});
  require(layer.has_value(), "a layer of right sizes loads");
  auto ctx = backend.new_context();
  std::vector<float> y(c.rows * c.m);
  require(layer->forward(*ctx, x, y, c.m).has_value(), "it multiplies");
  return y;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 6) return 0;
  const auto types = quant_types();
  const QuantTypeInfo& type = types[data[0] % types.size()];
  // Floats are multiplied otherwise in rows of a page and more.
  const std::uint64_t most_blocks =
      type.block_elements == 1 ? 2100 : std::max<std::uint64_t>(1, 640 / type.block_elements);
  const Case c{.type = type,
               .precision = static_cast<Precision>(data[1] % 3),
               .rows = 1 + data[2] % 50U,
               .columns = type.block_elements * (1 + 9U * data[3] % most_blocks),
               .m = 1 + data[4] % 72U,
               .source = {data + 5, size - 5}};
  std::vector<float> x(c.m * c.columns);
  const std::vector<std::byte> bits = c.bytes(x.size() * sizeof(float), 1 + data[0]);
  std::memcpy(x.data(), bits.data(), bits.size());

  const std::vector<float> expected = product(backends().front(), c, StoreLayout::as_in_file, x);
  for (const CpuBackend& backend : backends()) {
    for (const StoreLayout layout : {StoreLayout::as_in_file, StoreLayout::interleaved}) {
      const std::vector<float> y = product(backend, c, layout, x);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const bool both_nan = y[i] != y[i] && expected[i] != expected[i];
        require(both_nan || std::bit_cast<std::uint32_t>(y[i]) == std::bit_cast<std::uint32_t>(expected[i]),
                std::string(backend.instruction_set()) + (layout == StoreLayout::interleaved ? " interleaved" : "") +
                    ": output " + std::to_string(i) + " has the bits of scalar");
      }
    }
  }
  return 0;
}
