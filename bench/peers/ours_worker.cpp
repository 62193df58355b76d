// Worker around QuantLinear:  peer_ours a8|a16|f32 plain|repack INSTRUCTION_SET|- ARENA CPUS
// One layer per copy of the weights; a pass is one forward of each.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "contestant.hpp"
#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"

namespace peers {
namespace {

namespace ql = quantlinear;
using Layer = ql::QuantLinear<ql::CpuBackend>;

template <class T>
T value_of(ql::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
void check(const ql::Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

ql::GgufQuantType kind_of(const WeightType& type) {
  const std::optional<ql::GgufQuantType> kind = ql::quant_type_from_id(type.id);
  if (!kind) throw std::runtime_error("does not know " + type.name);
  return *kind;
}

class OursContestant final : public Contestant {
 public:
  OursContestant(const ql::LoadOptions& load, std::string instruction_set)
      : load_(load), instruction_set_(std::move(instruction_set)) {}

  BlockShape block(const WeightType& type) override {
    const ql::QuantTypeInfo* info = ql::quant_type_info(kind_of(type));
    return {info->block_elements, info->block_bytes};
  }

  /// Only where no peer knows the type: random blocks that decode to finite values.
  void quantize(const WeightType& type, std::size_t rows, std::size_t k, const float*, std::byte* blocks) override {
    const BlockShape shape = block(type);
    std::mt19937 generator(type.id);
    for (std::size_t i = 0; i < rows * (k / shape.elements); ++i) {
      const std::span<std::byte> bytes(blocks + i * shape.bytes, shape.bytes);
      do {
        std::ranges::generate(bytes, [&] { return static_cast<std::byte>(generator() & 0xff); });
      } while (value_of(ql::find_non_finite_block(kind_of(type), bytes)));
    }
  }

  void dequantize(const WeightType& type, std::size_t rows, std::size_t k, const std::byte* blocks,
                  float* values) override {
    const BlockShape shape = block(type);
    check(ql::dequantize(kind_of(type), {blocks, rows * (k / shape.elements) * shape.bytes}, {values, rows * k}));
  }

  void load(const WeightType& type, std::size_t n, std::size_t k, std::size_t copies,
            const std::byte* blocks) override {
    unload();
    const std::uint64_t bytes = value_of(ql::matrix_bytes(kind_of(type), n, k));
    kind_ = kind_of(type);
    for (std::size_t i = 0; i < copies; ++i) {
      weights_.push_back(value_of(ql::QuantBytes::copy({blocks, static_cast<std::size_t>(bytes)})));
    }
    n_ = n;
    k_ = k;
  }

  void prepare(std::size_t m, std::size_t threads, const float* activations) override {
    layers_.clear();
    context_.reset();
    ql::CpuOptions options;
    options.threads.threads = threads;
    options.instruction_set = instruction_set_;
    const ql::CpuBackend backend(options);
    check(backend.status());
    for (const ql::QuantBytes& bytes : weights_) {
      layers_.push_back(value_of(Layer::from_gguf_bytes(backend, kind_, bytes, n_, k_, load_)));
      const std::string reason = layers_.back().explain(m).parts.front().reason;
      if (reason.contains("not interleaved")) throw std::runtime_error(reason);
    }
    context_.emplace(value_of(backend.new_context()));
    input_.assign(activations, activations + m * k_);
    output_.assign(m * n_, 0.0f);
    m_ = m;
  }

  void pass() override {
    for (const Layer& layer : layers_) check(layer.forward(*context_, input_, output_, m_));
  }

  void result(float* outputs) override { std::ranges::copy(output_, outputs); }

  void unload() override {
    layers_.clear();
    context_.reset();
    weights_.clear();
  }

 private:
  ql::LoadOptions load_;
  std::string instruction_set_;
  ql::GgufQuantType kind_{};
  std::vector<ql::QuantBytes> weights_;
  std::vector<Layer> layers_;
  std::optional<ql::CpuBackend::Context> context_;
  std::vector<float> input_, output_;
  std::size_t n_ = 0, k_ = 0, m_ = 0;
};

}  // namespace
}  // namespace peers

int main(int argc, char** argv) {
  const std::optional<quantlinear::Precision> precision =
      argc == 6 ? quantlinear::precision_from_name(argv[1]) : std::nullopt;
  if (!precision) {
    std::fputs("peer_ours is started by compare_peers\n", stderr);
    return 2;
  }
  try {
    const bool repack = argv[2] == std::string_view("repack");
    const std::string_view instruction_set = argv[3];
    using quantlinear::StoreLayout;
    peers::OursContestant contestant(
        {.precision = precision, .layout = repack ? StoreLayout::interleaved : StoreLayout::as_in_file},
        std::string(instruction_set == "-" ? "" : instruction_set));
    return peers::serve(contestant, std::stoi(argv[4]), argv[5]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peer_ours: %s\n", error.what());
    return 1;
  }
}
