// Worker around an installed ggml library:  peer_ggml FOLDER plain|repack ARENA CPUS
//   plain   weights as they are in the file
//   repack  weights in the layout that the library likes best: its own buffer type for repacked
//           weights, or its in-place repacking
// The pass is one graph of one product per copy of the weights, as in a model's graph. Every product
// has its own tensor of activations, so that a library that quantises a shared one once does not get
// this for free. They are the same memory, and the results share theirs too.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "contestant.hpp"
#include "ggml_library.hpp"

namespace peers {
namespace {

constexpr int type_f32 = 0;

/// An object of the library, freed with the library's function.
class Owned {
 public:
  Owned() = default;
  Owned(Object object, void (*release)(Object)) : object_(object), release_(release) {
    if (object == nullptr) throw std::runtime_error("the library returned null (out of memory?)");
  }
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)), release_(other.release_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Owned() {
    if (object_ != nullptr) release_(object_);
  }
  operator Object() const noexcept { return object_; }  // NOLINT: a handle

 private:
  Object object_ = nullptr;
  void (*release_)(Object) = nullptr;
};

class GgmlContestant final : public Contestant {
 public:
  GgmlContestant(const std::string& folder, bool repack)
      : ggml_(folder), repack_(repack), backend_(ggml_.backend_cpu_init(), ggml_.backend_free) {}

  BlockShape block(const WeightType& type) override {
    const int id = static_cast<int>(type.id);
    const char* found = ggml_.type_name(id);
    std::string name = found == nullptr ? "" : found;
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    if (!name.starts_with(type.name)) throw std::runtime_error("does not know " + type.name);
    return {static_cast<std::size_t>(ggml_.blck_size(id)), ggml_.type_size(id)};
  }

  void quantize(const WeightType& type, std::size_t rows, std::size_t k, const float* values,
                std::byte* blocks) override {
    block(type);
    const int id = static_cast<int>(type.id);
    const std::vector<float> importance(k, 1.0f);
    ggml_.quantize_chunk(id, values, blocks, 0, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(k),
                         ggml_.quantize_requires_imatrix(id) ? importance.data() : nullptr);
  }

  void dequantize(const WeightType& type, std::size_t rows, std::size_t k, const std::byte* blocks,
                  float* values) override {
    if (type.id == type_f32) {
      std::memcpy(values, blocks, rows * k * sizeof(float));
      return;
    }
    const GgmlLibrary::RowDecoder decode = ggml_.row_decoder(type.name);
    if (decode == nullptr) throw std::runtime_error("has no decoder of " + type.name);
    decode(blocks, values, static_cast<std::int64_t>(rows * k));
  }

  void load(const WeightType& type, std::size_t n, std::size_t k, std::size_t copies,
            const std::byte* blocks) override {
    unload();
    const BlockShape shape = block(type);
    bytes_ = n * (k / shape.elements) * shape.bytes;
    n_ = n;
    k_ = k;
    Object buffer_type = ggml_.backend_cpu_buffer_type();
    if (repack_ && ggml_.repack_tensor == nullptr) buffer_type = repacking_buffer_type(type);
    weights_context_ = new_context(copies, 0);
    for (std::size_t i = 0; i < copies; ++i) weights_.push_back(new_weights(weights_context_, type));
    weights_buffer_ =
        Owned(ggml_.backend_alloc_ctx_tensors_from_buft(weights_context_, buffer_type), ggml_.backend_buffer_free);
    for (const Object tensor : weights_) ggml_.backend_tensor_set(tensor, blocks, 0, bytes_);
    if (repack_ && ggml_.repack_tensor != nullptr) repack_in_place(type);
  }

  void prepare(std::size_t m, std::size_t threads, const float* activations) override {
    if (weights_.empty()) throw std::runtime_error("no weights loaded");
    const std::size_t copies = weights_.size();
    const std::size_t input_bytes = round_up(m * k_ * sizeof(float)), output_bytes = m * n_ * sizeof(float);
    graph_context_ = new_context(2 * copies + 2, 2 * copies + 2);
    memory_ = Owned(ggml_.backend_buft_alloc_buffer(ggml_.backend_cpu_buffer_type(), input_bytes + output_bytes),
                    ggml_.backend_buffer_free);
    auto* const base = static_cast<std::byte*>(ggml_.backend_buffer_get_base(memory_));
    graph_ = ggml_.new_graph_custom(graph_context_, 2 * copies + 2, false);
    for (const Object weights : weights_) {
      const Object input = new_input(graph_context_, m);
      ggml_.backend_tensor_alloc(memory_, input, base);
      if (weights == weights_.front()) ggml_.backend_tensor_set(input, activations, 0, m * k_ * sizeof(float));
      output_ = ggml_.mul_mat(graph_context_, weights, input);
      ggml_.backend_tensor_alloc(memory_, output_, base + input_bytes);
      ggml_.build_forward_expand(graph_, output_);
    }
    output_bytes_ = output_bytes;
    ggml_.backend_cpu_set_n_threads(backend_, static_cast<int>(threads));
  }

  void pass() override {
    if (ggml_.backend_graph_compute(backend_, graph_) != 0) throw std::runtime_error("the graph was not computed");
  }

  void result(float* outputs) override { ggml_.backend_tensor_get(output_, outputs, 0, output_bytes_); }

  void unload() override {
    graph_ = output_ = nullptr;
    weights_.clear();
    for (Owned* owned : {&memory_, &graph_context_, &weights_buffer_, &weights_context_}) *owned = Owned();
  }

 private:
  static std::size_t round_up(std::size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

  [[nodiscard]] Owned new_context(std::size_t tensors, std::size_t graph_size) const {
    const std::size_t graph = graph_size == 0 ? 0 : ggml_.graph_overhead_custom(graph_size, false);
    return {ggml_.init({tensors * ggml_.tensor_overhead() + graph + 4096, nullptr, true}), ggml_.free};
  }
  [[nodiscard]] Object new_weights(Object context, const WeightType& type) const {
    return ggml_.new_tensor_2d(context, static_cast<int>(type.id), static_cast<std::int64_t>(k_),
                               static_cast<std::int64_t>(n_));
  }
  [[nodiscard]] Object new_input(Object context, std::size_t m) const {
    return ggml_.new_tensor_2d(context, type_f32, static_cast<std::int64_t>(k_), static_cast<std::int64_t>(m));
  }

  /// The library's first buffer type for repacked weights that takes this matrix.
  [[nodiscard]] Object repacking_buffer_type(const WeightType& type) const {
    if (ggml_.backend_cpu_reg == nullptr || ggml_.backend_reg_dev_get == nullptr ||
        ggml_.backend_reg_get_proc_address == nullptr || ggml_.backend_dev_supports_op == nullptr) {
      throw std::runtime_error("does not repack");
    }
    const Object registry = ggml_.backend_cpu_reg();
    const Object device = ggml_.backend_reg_dev_get(registry, 0);
    const auto extra_types = reinterpret_cast<Object* (*)(Object)>(
        ggml_.backend_reg_get_proc_address(registry, "ggml_backend_dev_get_extra_bufts"));
    for (Object* next = extra_types == nullptr ? nullptr : extra_types(device); next != nullptr && *next != nullptr;
         ++next) {
      const Owned context = new_context(3, 0);
      const Object weights = new_weights(context, type);
      const std::size_t bytes = ggml_.backend_buft_get_alloc_size(*next, weights);
      const Owned buffer(ggml_.backend_buft_alloc_buffer(*next, bytes + 4096), ggml_.backend_buffer_free);
      ggml_.backend_tensor_alloc(buffer, weights, ggml_.backend_buffer_get_base(buffer));
      const Object product = ggml_.mul_mat(context, weights, new_input(context, 1));
      if (ggml_.backend_dev_supports_op(device, product)) return *next;
    }
    throw std::runtime_error("does not repack " + type.name);
  }

  void repack_in_place(const WeightType& type) {
    if (ggml_.repacked_type != nullptr && ggml_.repacked_type(weights_.front()) == static_cast<int>(type.id)) {
      unload();
      throw std::runtime_error("does not repack " + type.name);
    }
    for (const Object tensor : weights_) ggml_.repack_tensor(tensor);
  }

  GgmlLibrary ggml_;
  bool repack_;
  Owned backend_, weights_context_, weights_buffer_, graph_context_, memory_;
  std::vector<Object> weights_;
  Object graph_ = nullptr, output_ = nullptr;
  std::size_t n_ = 0, k_ = 0, bytes_ = 0, output_bytes_ = 0;
};

}  // namespace
}  // namespace peers

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("peer_ggml is started by compare_peers\n", stderr);
    return 2;
  }
  try {
    peers::GgmlContestant contestant(argv[1], std::string_view(argv[2]) == "repack");
    return peers::serve(contestant, std::stoi(argv[3]), argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peer_ggml: %s\n", error.what());
    return 1;
  }
}
