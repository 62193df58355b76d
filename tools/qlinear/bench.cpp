// qlinear bench: how fast layers run, and how close that is to what memory and arithmetic units can do.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "command.hpp"
#include "json.hpp"
#include "machine.hpp"
#include "model.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "random_weights.hpp"
#include "table.hpp"
#include "text.hpp"
#include "timing.hpp"

namespace qlinear {

using quantlinear::AnyBackend;
using quantlinear::GgufFile;
using quantlinear::GgufQuantType;
using quantlinear::GgufTensorInfo;
using quantlinear::Precision;
using quantlinear::QuantPart;
using quantlinear::Result;

namespace {

struct BenchOptions {
  std::string file;
  std::vector<std::string> tensors;
  std::vector<GgufQuantType> types{GgufQuantType::Q4_K};
  std::uint64_t n = 4096;
  std::uint64_t k = 4096;
  std::vector<std::uint64_t> m{1, 8, 64, 512};
  std::vector<Precision> precisions{Precision::a8};
  quantlinear::StoreLayout layout = quantlinear::StoreLayout::as_in_file;
  DeviceOptions device;
  std::uint64_t repetitions = 0;  // 0: as many as fit into min_seconds, at least kLeastRepetitions
  double min_seconds = 0.3;
  bool json = false;
};

constexpr std::size_t kLeastRepetitions = 5;

/// Up to this m the copies of a layer are walked through once before the clock starts.
constexpr std::uint64_t kSmallM = 8;

struct BenchResult {
  LayerSource source;  // what was timed; its weight bytes may be gone
  std::uint64_t m = 0;
  Precision precision = Precision::a8;  // that ran
  std::string isa, path;
  std::size_t threads = 0;
  std::size_t repetitions = 0;
  std::uint64_t weight_bytes = 0, walked_bytes = 0;
  double median_seconds = 0, min_seconds = 0;
  double stream_bytes_per_second = 0;
  double arithmetic_seconds = 0;  ///< least time of the multiply-adds; 0: not known

  [[nodiscard]] double gflops() const {
    const auto operations = 2.0 * static_cast<double>(m) * static_cast<double>(source.out_features()) *
                            static_cast<double>(source.in_features);
    return operations / median_seconds * 1e-9;
  }
  [[nodiscard]] double weight_gbytes_per_s() const { return static_cast<double>(weight_bytes) / median_seconds * 1e-9; }
  [[nodiscard]] double stream_gbytes_per_s() const { return stream_bytes_per_second * 1e-9; }
  [[nodiscard]] double share_of_stream() const { return weight_gbytes_per_s() / stream_gbytes_per_s(); }
  [[nodiscard]] double share_of_arithmetic() const { return arithmetic_seconds / median_seconds; }
  /// Of the limit that is the nearer one: no forward is faster than both reading and multiplying.
  [[nodiscard]] bool bound_by_reading() const { return share_of_stream() >= share_of_arithmetic(); }
  [[nodiscard]] double share_of_limit() const { return std::max(share_of_stream(), share_of_arithmetic()); }
};

// ---- what to time -------------------------------------------------------------------------------

Result<std::vector<LayerSource>> random_layers(const BenchOptions& options) {
  std::vector<LayerSource> layers;
  for (const GgufQuantType type : options.types) {
    auto weights = RandomWeights::create(type, 1);
    if (!weights) return std::unexpected(weights.error());
    auto bytes = weights->matrix(options.n, options.k);
    if (!bytes) return std::unexpected(bytes.error());
    layers.push_back({std::string(to_string(type)), {QuantPart{type, std::move(*bytes), options.n, {}}}, options.k});
  }
  return layers;
}

/// The layers named, or one matrix of every type and shape in the file.
Result<std::vector<LayerSource>> file_layers(const GgufFile& file, const BenchOptions& options) {
  std::vector<LayerSource> layers;
  for (const std::string& names : options.tensors) {
    auto parts = parts_of(file, names);
    if (!parts) return std::unexpected(parts.error());
    layers.push_back({names, std::move(parts->parts), parts->in_features});
  }
  if (!options.tensors.empty()) return layers;
  for (const GgufTensorInfo& tensor : file.tensors()) {
    if (!is_matrix(tensor) || tensor.rows() == 0 || tensor.in_features() == 0) continue;
    const bool known = std::ranges::any_of(layers, [&](const LayerSource& layer) {
      return layer.parts.front().kind == tensor.kind() && layer.in_features == tensor.in_features() &&
             layer.out_features() == tensor.rows();
    });
    if (known) continue;
    auto part = part_of(file, tensor);
    if (!part) return std::unexpected(part.error());
    layers.push_back({tensor.name, {std::move(*part)}, tensor.in_features()});
  }
  return layers;
}

// ---- timing -------------------------------------------------------------------------------------

/// Times one m: the copies in turn, first once each (or once, for large m) without the clock.
Result<std::vector<double>> repeat(ForwardClock& clock, std::span<const Layer> copies, std::uint64_t m,
                                   const BenchOptions& options) {
  const std::size_t warm_up = m <= kSmallM ? copies.size() : 1;
  for (std::size_t i = 0; i < warm_up; ++i) {
    if (auto seconds = clock.time(copies[i], m); !seconds) return std::unexpected(seconds.error());
  }
  std::vector<double> samples;
  double total = 0;
  const auto enough = [&] {
    if (options.repetitions > 0) return samples.size() >= options.repetitions;
    return samples.size() >= kLeastRepetitions && total >= options.min_seconds;
  };
  while (!enough()) {
    const auto seconds = clock.time(copies[(warm_up + samples.size()) % copies.size()], m);
    if (!seconds) return std::unexpected(seconds.error());
    samples.push_back(*seconds);
    total += *seconds;
  }
  return samples;
}

/// All m and precisions of one layer. The streamed read is measured before and after: on a shared
/// machine the memory's share that this program gets changes over time.
Result<std::vector<BenchResult>> bench_layer(const AnyBackend& backend, const LayerSource& source,
                                             const BenchOptions& options, std::size_t threads,
                                             const ArithmeticRates& arithmetic) {
  std::vector<BenchResult> results;
  auto copies = with_copies({source});
  if (!copies) return std::unexpected(copies.error());
  const std::uint64_t most_m = *std::ranges::max_element(options.m);
  auto clock = ForwardClock::create(backend, most_m * source.in_features, most_m * source.out_features());
  if (!clock) return std::unexpected(clock.error());
  const std::uint64_t weight_bytes = source.weight_bytes();
  const auto before = streamed_read(threads);
  if (!before) return std::unexpected(before.error());
  for (const Precision precision : options.precisions) {
    std::vector<Layer> layers;
    for (const auto& copy : *copies) {
      auto layer = Layer::from_gguf_fused(backend, copy.front().parts, source.in_features, {precision, options.layout});
      if (!layer) return std::unexpected(layer.error());
      layers.push_back(std::move(*layer));
    }
    for (const std::uint64_t m : options.m) {
      const auto samples = repeat(*clock, layers, m, options);
      if (!samples) return std::unexpected(samples.error());
      const quantlinear::Explanation explanation = layers.front().explain(m);
      BenchResult result{
          .source = source, .m = m, .precision = Precision::f32, .isa = {}, .path = {}, .threads = explanation.threads};
      for (const auto& part : explanation.parts) result.precision = std::max(result.precision, part.runs);
      if (!explanation.parts.empty()) result.isa = explanation.parts.front().instruction_set;
      if (!explanation.parts.empty()) result.path = explanation.parts.front().path;
      result.repetitions = samples->size();
      result.weight_bytes = weight_bytes;
      result.walked_bytes = weight_bytes * copies->size();
      result.median_seconds = median(*samples);
      result.min_seconds = least(*samples);
      result.arithmetic_seconds = arithmetic.seconds(source, m, result.precision, result.isa, result.threads);
      results.push_back(std::move(result));
    }
  }
  const auto after = streamed_read(threads);
  if (!after) return std::unexpected(after.error());
  for (BenchResult& result : results) {
    result.stream_bytes_per_second = std::max(*before, *after);
    for (QuantPart& part : result.source.parts) part.bytes = {};  // the figures are kept, the weights are not
  }
  return results;
}

// ---- output -------------------------------------------------------------------------------------

std::string types_text(const LayerSource& source) {
  std::string text;
  for (const QuantPart& part : source.parts) {
    const std::string_view type = to_string(part.kind);
    if (text.ends_with(type)) continue;
    text += text.empty() ? "" : "+";
    text += type;
  }
  return text;
}

Json result_json(const BenchResult& result) {
  Json shapes = Json::array();
  for (const QuantPart& part : result.source.parts) {
    shapes.push_back({{"type", to_string(part.kind)}, {"rows", part.rows}, {"columns", result.source.in_features}});
  }
  return {{"name", result.source.name},
          {"type", types_text(result.source)},
          {"n", result.source.out_features()},
          {"k", result.source.in_features},
          {"m", result.m},
          {"precision", to_string(result.precision)},
          {"isa", result.isa},
          {"path", result.path},
          {"threads", result.threads},
          {"repetitions", result.repetitions},
          {"median_ms", result.median_seconds * 1e3},
          {"min_ms", result.min_seconds * 1e3},
          {"gflops", result.gflops()},
          {"weight_bytes", result.weight_bytes},
          {"walked_weight_bytes", result.walked_bytes},
          {"weight_gbytes_per_s", result.weight_gbytes_per_s()},
          {"stream_read_gbytes_per_s", result.stream_gbytes_per_s()},
          {"share_of_stream", result.share_of_stream()},
          {"arithmetic_limit_ms", result.arithmetic_seconds * 1e3},
          {"limit", result.bound_by_reading() ? "reading" : "arithmetic"},
          {"share_of_limit", result.share_of_limit()},
          {"shapes", std::move(shapes)}};
}

void print_table(std::span<const BenchResult> results) {
  Table table({left("layer"), left("type"), right("n x k"), right("m"), left("precision"), right("median"),
               right("min"), right("weights"), right("multiply-adds"), right("of the limit")});
  std::string_view previous;
  for (const BenchResult& result : results) {
    const std::string_view name = result.source.name;
    table.row({name == previous ? std::string() : printable(name), types_text(result.source),
               fmt::format("{} x {}", result.source.out_features(), result.source.in_features),
               std::to_string(result.m), std::string(to_string(result.precision)), milliseconds(result.median_seconds),
               milliseconds(result.min_seconds), three_digits(result.weight_gbytes_per_s()) + " GB/s",
               three_digits(result.gflops()) + " GFLOP/s",
               percent(result.share_of_limit()) + (result.bound_by_reading() ? " reading" : " arithmetic")});
    previous = name;
  }
  table.print();
  double stream = 0;
  for (const BenchResult& result : results) stream = std::max(stream, result.stream_gbytes_per_s());
  const BenchResult& first = results.front();
  fmt::print("\n{}, {}, {}; streamed read {} GB/s in this run, last-level cache {}\n", printable(cpu_name()), first.isa,
             counted(first.threads, "thread", "threads"), three_digits(stream), human_bytes(last_level_cache_bytes()));
}

Result<Exit> run(const BenchOptions& options) {
  const auto backend = make_backend(options.device);
  if (!backend) return std::unexpected(backend.error());
  Result<std::vector<LayerSource>> layers = std::vector<LayerSource>();
  if (options.file.empty()) {
    layers = random_layers(options);
  } else {
    const auto file = GgufFile::open(options.file);
    if (!file) return std::unexpected(file.error());
    layers = file_layers(*file, options);
  }
  if (!layers) return std::unexpected(layers.error());

  std::vector<BenchResult> results;
  std::size_t threads = 1;
  std::optional<ArithmeticRates> arithmetic;
  {
    Progress bar("bench", layers->size());
    for (std::size_t i = 0; i < layers->size(); ++i) {
      LayerSource& source = (*layers)[i];
      bar.update(i, source.name);
      if (!arithmetic) {
        const auto layer = Layer::from_gguf_fused(*backend, source.parts, source.in_features);
        if (!layer) return std::unexpected(layer.error());
        threads = layer->explain(1).threads;
        auto rates = ArithmeticRates::measure(threads);
        if (!rates) return std::unexpected(rates.error());
        arithmetic.emplace(std::move(*rates));
      }
      auto timed = bench_layer(*backend, source, options, threads, *arithmetic);
      if (!timed) return std::unexpected(timed.error());
      std::ranges::move(*timed, std::back_inserter(results));
    }
  }
  if (options.json) {
    Json list = Json::array();
    for (const BenchResult& result : results) list.push_back(result_json(result));
    print_json(
        {{"cpu", cpu_name()}, {"last_level_cache_bytes", last_level_cache_bytes()}, {"results", std::move(list)}});
  } else if (!results.empty()) {
    print_table(results);
  } else {
    fmt::print("{}: no weight matrices\n", printable(options.file));
  }
  return Exit::yes;
}

}  // namespace

const Command bench_command{
    "bench", "Time layers: random ones, or those of a file", [](Options& options) -> Action {
      const auto values = std::make_shared<BenchOptions>();
      options.optional("FILE", "GGUF file; default: layers of random weights", values->file);
      options.any_number("TENSOR", "A layer each, fused if joined by commas; default: one of every type and shape",
                         values->tensors);
      constexpr std::uint64_t most_size = std::uint64_t{1} << 24U;
      options.types(values->types);
      options.number("--n", "out_features of random layers", values->n, 1, most_size);
      options.number("--k", "in_features of random layers", values->k, 1, most_size);
      options.batch_sizes(values->m);
      options.precisions(values->precisions);
      options.interleave(values->layout);
      options.device(values->device, false);
      options.number("--reps", "Repetitions of every line; default: as many as take --min-time, at least 5",
                     values->repetitions, 1, 1'000'000);
      options.seconds("--min-time", "Least time of the repetitions of a line, in seconds", values->min_seconds, 60);
      options.json(values->json);
      return [values, options] {
        const bool random = options.given("--type") || options.given("--n") || options.given("--k");
        if (random && !values->file.empty()) {
          throw UsageError("--type, --n and --k are for random layers, not for those of a file");
        }
        return run(*values);
      };
    }};

}  // namespace qlinear
