// qlinear make-sample: a small file with the structure of a real model, for ./demo and the tests.
#include <fmt/format.h>

#include <array>
#include <limits>
#include <memory>
#include <random>

#include "command.hpp"
#include "json.hpp"
#include "options.hpp"
#include "quantlinear/gguf_writer.hpp"
#include "random_weights.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::GgufArray;
using quantlinear::GgufQuantType;
using quantlinear::GgufValue;
using quantlinear::GgufWriter;
using quantlinear::QuantBytes;
using quantlinear::Result;
using quantlinear::Status;

namespace {

struct SampleOptions {
  std::string file;
  std::uint64_t blocks = 3;
  std::uint64_t seed = 1;
  bool json = false;
};

// A llama in miniature. Every width is a multiple of 256, so that every format fits.
constexpr std::uint64_t kWidth = 512, kKeyWidth = 256, kInner = 1536, kVocabulary = 4096;

struct Matrix2D {
  std::string_view name;
  GgufQuantType type;
  std::uint64_t rows, columns;
};

/// The mixture of types is that of a Q4_K_M file, with some types of other mixtures.
constexpr std::array<Matrix2D, 7> kBlockMatrices{{
    {"attn_q", GgufQuantType::Q4_K, kWidth, kWidth},
    {"attn_k", GgufQuantType::Q5_0, kKeyWidth, kWidth},
    {"attn_v", GgufQuantType::Q8_0, kKeyWidth, kWidth},
    {"attn_output", GgufQuantType::IQ4_XS, kWidth, kWidth},
    {"ffn_gate", GgufQuantType::Q4_K, kInner, kWidth},
    {"ffn_up", GgufQuantType::Q5_K, kInner, kWidth},
    {"ffn_down", GgufQuantType::Q6_K, kWidth, kInner},
}};

class Sample {
 public:
  explicit Sample(const SampleOptions& options) : options_(options), random_(options.seed) {}

  Result<GgufWriter> make() {
    if (auto s = add_metadata(); !s) return std::unexpected(s.error());
    if (auto s = add_matrix("token_embd.weight", GgufQuantType::Q8_0, kVocabulary, kWidth); !s) {
      return std::unexpected(s.error());
    }
    for (std::uint64_t block = 0; block < options_.blocks; ++block) {
      if (auto s = add_block(block); !s) return std::unexpected(s.error());
    }
    if (auto s = add_vector("output_norm.weight", kWidth, 1.0F); !s) return std::unexpected(s.error());
    return std::move(writer_);
  }

 private:
  Status add_metadata() {
    std::vector<std::string> tokens;
    for (std::uint64_t i = 0; i < kVocabulary; ++i) tokens.push_back(fmt::format("<token {}>", i));
    const std::vector<std::pair<std::string, GgufValue>> keys{
        {"general.architecture", std::string("llama")},
        {"general.name", std::string("QuantLinear sample, random weights")},
        {"general.quantization_version", std::uint32_t{2}},
        {"llama.block_count", static_cast<std::uint32_t>(options_.blocks)},
        {"llama.embedding_length", static_cast<std::uint32_t>(kWidth)},
        {"llama.feed_forward_length", static_cast<std::uint32_t>(kInner)},
        {"llama.attention.head_count", std::uint32_t{8}},
        {"llama.attention.head_count_kv", std::uint32_t{4}},
        {"llama.attention.layer_norm_rms_epsilon", 1e-5F},
        {"tokenizer.ggml.tokens", GgufArray{std::move(tokens)}},
    };
    for (const auto& [key, value] : keys) {
      if (auto s = writer_.set(key, value); !s) return s;
    }
    return {};
  }

  Status add_block(std::uint64_t block) {
    for (const std::string_view norm : {"attn_norm", "ffn_norm"}) {
      if (auto s = add_vector(fmt::format("blk.{}.{}.weight", block, norm), kWidth, 1.0F); !s) return s;
    }
    for (const Matrix2D& matrix : kBlockMatrices) {
      const std::string name = fmt::format("blk.{}.{}", block, matrix.name);
      if (auto s = add_matrix(name + ".weight", matrix.type, matrix.rows, matrix.columns); !s) return s;
      // As in models of the Qwen2 kind: query, key and value have biases.
      if (matrix.name == "attn_q" || matrix.name == "attn_k" || matrix.name == "attn_v") {
        if (auto s = add_vector(name + ".bias", matrix.rows, 0.0F); !s) return s;
      }
    }
    return {};
  }

  Status add_matrix(std::string_view name, GgufQuantType type, std::uint64_t rows, std::uint64_t columns) {
    auto weights = RandomWeights::create(type, random_());
    if (!weights) return std::unexpected(weights.error());
    auto bytes = weights->matrix(rows, columns);
    if (!bytes) return std::unexpected(bytes.error());
    const std::array<std::uint64_t, 2> dims{columns, rows};
    return writer_.add_tensor(name, type, dims, std::move(*bytes));
  }

  /// Values around `centre`, as norms and biases have them.
  Status add_vector(std::string_view name, std::uint64_t size, float centre) {
    std::normal_distribution<float> around(centre, 0.1F);
    std::vector<float> values(size);
    for (float& value : values) value = around(random_);
    auto bytes = QuantBytes::copy(std::as_bytes(std::span(values)));
    if (!bytes) return std::unexpected(bytes.error());
    const std::array<std::uint64_t, 1> dims{size};
    return writer_.add_tensor(name, GgufQuantType::F32, dims, std::move(*bytes));
  }

  const SampleOptions& options_;
  std::mt19937_64 random_;
  GgufWriter writer_;
};

Result<Exit> run(const SampleOptions& options) {
  const auto writer = Sample(options).make();
  if (!writer) return std::unexpected(writer.error());
  if (auto s = writer->write(options.file); !s) return std::unexpected(s.error());
  if (options.json) {
    print_json({{"output", options.file}, {"blocks", options.blocks}, {"seed", options.seed}});
  } else {
    fmt::print("{}: {} of random weights in the structure of a llama\n", printable(options.file),
               counted(options.blocks, "block", "blocks"));
  }
  return Exit::yes;
}

}  // namespace

const Command make_sample_command{
    "make-sample", "Write a small model of random weights, to try the program on", [](Options& options) -> Action {
      const auto values = std::make_shared<SampleOptions>();
      options.required("FILE", "File to write", values->file);
      options.number("--blocks", "Number of transformer blocks", values->blocks, 1, 1000);
      options.number("--seed", "Of the random weights", values->seed, 0, std::numeric_limits<std::uint64_t>::max());
      options.json(values->json);
      return [values] { return run(*values); };
    }};

}  // namespace qlinear
