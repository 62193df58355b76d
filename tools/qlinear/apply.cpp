// qlinear apply: activations from a .npy file through a layer, results into another.
#include <fmt/format.h>

#include <chrono>
#include <limits>
#include <memory>

#include "command.hpp"
#include "json.hpp"
#include "model.hpp"
#include "npy.hpp"
#include "options.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::AnyBackend;
using quantlinear::ErrorCode;
using quantlinear::fail;
using quantlinear::GgufFile;
using quantlinear::Precision;
using quantlinear::Result;

namespace {

struct ApplyOptions {
  std::string file;
  std::string tensors;
  std::string input;
  std::string output;
  DeviceOptions device;
  quantlinear::LoadOptions load{.precision = Precision::a8};
  bool json = false;
};

struct Outcome {
  std::vector<float> values;
  double seconds = 0;
};

Result<Outcome> forward(const AnyBackend& backend, const Layer& layer, const Matrix& x) {
  const std::uint64_t out = layer.out_features();
  if (out != 0 && x.rows > std::numeric_limits<std::uint64_t>::max() / out) {
    return fail(ErrorCode::invalid_argument, fmt::format("{} rows of {} outputs are too many", x.rows, out));
  }
  auto ctx = backend.new_context();
  if (!ctx) return std::unexpected(ctx.error());
  auto input = backend.allocate(x.values.size());
  if (!input) return std::unexpected(input.error());
  auto output = backend.allocate(x.rows * out);
  if (!output) return std::unexpected(output.error());
  if (auto s = backend.upload(x.values, *input); !s) return std::unexpected(s.error());

  const AnyBackend::Input input_view(std::as_const(*input), 0, 0);
  const AnyBackend::Output output_view(*output, 0, 0);
  const auto start = std::chrono::steady_clock::now();
  if (auto s = layer.forward(*ctx, input_view, output_view, x.rows); !s) return std::unexpected(s.error());
  if (auto s = ctx->flush(); !s) return std::unexpected(s.error());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  Outcome outcome{std::vector<float>(x.rows * out), taken.count()};
  if (auto s = backend.download(*ctx, *output, outcome.values); !s) return std::unexpected(s.error());
  return outcome;
}

Result<Exit> run(const ApplyOptions& options) {
  const auto file = GgufFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  const auto backend = make_backend(options.device);
  if (!backend) return std::unexpected(backend.error());
  const auto parts = parts_of(*file, options.tensors);
  if (!parts) return std::unexpected(parts.error());
  const auto layer = Layer::from_gguf_fused(*backend, parts->parts, parts->in_features, options.load);
  if (!layer) return std::unexpected(layer.error());
  const auto x = read_npy(options.input);
  if (!x) return std::unexpected(x.error());
  if (x->columns != layer->in_features()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: found {} columns, expected {}, the in_features of {}", printable(options.input),
                            x->columns, layer->in_features(), printable(options.tensors)));
  }

  const auto outcome = forward(*backend, *layer, *x);
  if (!outcome) return std::unexpected(outcome.error());
  if (auto s = file->check_unchanged(); !s) return std::unexpected(s.error());
  auto writer = NpyWriter::create(options.output, x->rows, layer->out_features());
  if (!writer) return std::unexpected(writer.error());
  if (auto s = writer->write(outcome->values); !s) return std::unexpected(s.error());
  if (auto s = writer->finish(); !s) return std::unexpected(s.error());

  // What ran, from the layer itself: the least exact part decides.
  const quantlinear::Explanation explanation = layer->explain(x->rows);
  Precision runs = Precision::f32;
  for (const auto& part : explanation.parts) runs = std::max(runs, part.runs);
  const std::string isa = explanation.parts.empty() ? "" : explanation.parts.front().instruction_set;
  if (options.json) {
    print_json({{"tensors", split_list(options.tensors)},
                {"input", options.input},
                {"output", options.output},
                {"m", x->rows},
                {"in_features", layer->in_features()},
                {"out_features", layer->out_features()},
                {"backend", explanation.backend},
                {"precision", to_string(runs)},
                {"isa", isa},
                {"threads", explanation.threads},
                {"milliseconds", outcome->seconds * 1e3}});
  } else if (writer->is_regular()) {
    fmt::print("{}: {} x {} float32 = {} ({} x {}) through {} ({}{}{}, {}), {}\n", printable(options.output), x->rows,
               layer->out_features(), printable(options.input), x->rows, x->columns, printable(options.tensors),
               explanation.backend, isa.empty() ? "" : " ", isa, to_string(runs), milliseconds(outcome->seconds));
  }
  return Exit::yes;
}

}  // namespace

const Command apply_command{
    "apply", "Send activations through a layer: Y = X W^T (+ bias)", [](Options& options) -> Action {
      const auto values = std::make_shared<ApplyOptions>();
      options.model(values->file);
      options.required("TENSORS", "Name of a tensor, or names joined by commas: one fused layer", values->tensors);
      options.required_option("-i,--input", "X.npy", "Activations, float32 [m, in_features]", values->input);
      options.required_option("-o,--output", "Y.npy", "Results, float32 [m, out_features]", values->output);
      options.device(values->device, true);
      options.precision(*values->load.precision);
      options.interleave(values->load.layout);
      options.json(values->json);
      return [values] { return run(*values); };
    }};

}  // namespace qlinear
