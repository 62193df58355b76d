// qlinear report: every projection of a model checked and timed on this machine. The table of ./demo.
#include <fmt/format.h>

#include <memory>

#include "command.hpp"
#include "json.hpp"
#include "machine.hpp"
#include "model.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "projections.hpp"
#include "table.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::GgufFile;
using quantlinear::GgufTensorInfo;
using quantlinear::Precision;
using quantlinear::Result;

namespace {

struct ReportOptions {
  std::string file;
  DeviceOptions device;
  std::vector<Precision> precisions{Precision::f32, Precision::a16, Precision::a8};
  bool json = false;
};

double prefill_gflops(const Projection& projection, const ProjectionFigures& figures) {
  const auto rows = static_cast<double>(figures.prefill_m);
  return 2 * rows * static_cast<double>(weights_of(*projection.tensor)) / figures.prefill_seconds * 1e-9;
}

double bytes_of(const Projection& projection) { return static_cast<double>(projection.tensor->bytes); }

std::string model_name(const GgufFile& file) {
  const auto name = file.metadata().get<std::string>("general.name");
  return name ? *name : std::string();
}

// ---- tables -------------------------------------------------------------------------------------

void print_heading(const GgufFile& file, const ModelReport& report) {
  const std::string name = model_name(file);
  fmt::print("{}{}{}\n", styled(printable(file.parts().front().string()), Style::strong), name.empty() ? "" : ": ",
             printable(name));
  std::uint64_t weights = 0;
  for (const Projection& projection : report.projections) weights += weights_of(*projection.tensor);
  fmt::print("{} with {} weights in {} ({:.2f} bits per weight)\n",
             counted(report.projections.size(), "projection", "projections"), human_count(weights),
             human_bytes(report.weight_bytes),
             8.0 * static_cast<double>(report.weight_bytes) / static_cast<double>(weights));
  const std::string cpu = cpu_name();
  fmt::print("{}{}{}, {}; streamed read {} GB/s, last-level cache {}\n\n", printable(cpu), cpu.empty() ? "" : ", ",
             report.isa, counted(report.threads, "thread", "threads"),
             three_digits(report.stream_bytes_per_second * 1e-9), human_bytes(last_level_cache_bytes()));
}

/// Speeds are those of the last precision listed, the fastest unless the user chose otherwise.
void print_projections(const ModelReport& report, std::span<const Precision> precisions) {
  const std::string fastest(to_string(precisions.back()));
  std::vector<Table::Column> columns{left("projection"), left("type"), right("rows x columns")};
  for (const Precision precision : precisions) columns.push_back(right(fmt::format("NMSE {}", to_string(precision))));
  columns.push_back(right("decode " + fastest));
  columns.push_back(right("of stream"));
  columns.push_back(right("prefill " + fastest));
  Table table(std::move(columns));
  for (const Projection& projection : report.projections) {
    std::vector<Cell> row{printable(projection.tensor->name), projection.tensor->type_name(),
                          shape_text(*projection.tensor)};
    for (const ProjectionFigures& figures : projection.figures) {
      row.emplace_back(scientific(figures.nmse) + (figures.passed ? "" : " FAIL"),
                       figures.passed ? Style::plain : Style::bad);
    }
    const ProjectionFigures& figures = projection.figures.back();
    row.emplace_back(three_digits(bytes_of(projection) / figures.decode_seconds * 1e-9) + " GB/s");
    row.emplace_back(percent(report.share_of_stream(bytes_of(projection), figures.decode_seconds)));
    row.emplace_back(three_digits(prefill_gflops(projection, figures)) + " GFLOP/s");
    table.row(std::move(row));
  }
  table.print();
}

void print_totals(const ModelReport& report, std::span<const Precision> precisions) {
  fmt::print("\n{}\n", styled("All projections together", Style::strong));
  const std::string prompt = fmt::format("{}-token prompt", kPromptTokens);
  Table table({left("precision"), right("largest NMSE"), right("one token"), right("tokens/s"), right("weights"),
               right("of stream"), right(prompt), right("tokens/s"), right("arithmetic")});
  for (std::size_t i = 0; i < precisions.size(); ++i) {
    const ModelTotals& totals = report.totals[i];
    double worst = 0;
    bool passed = true;
    for (const Projection& projection : report.projections) {
      if (!(projection.figures[i].nmse <= worst)) worst = projection.figures[i].nmse;
      passed = passed && projection.figures[i].passed;
    }
    const auto bytes = static_cast<double>(report.weight_bytes);
    table.row({std::string(to_string(totals.precision)), Cell(scientific(worst), passed ? Style::plain : Style::bad),
               milliseconds(totals.decode_seconds), three_digits(1 / totals.decode_seconds),
               three_digits(totals.weight_bytes_per_second * 1e-9) + " GB/s",
               percent(report.share_of_stream(bytes, totals.decode_seconds)), milliseconds(totals.prompt_seconds),
               three_digits(static_cast<double>(kPromptTokens) / totals.prompt_seconds),
               three_digits(totals.prompt_flops * 1e-9) + " GFLOP/s"});
  }
  table.print();
}

void print_notes(const ModelReport& report) {
  fmt::print("\nNMSE: squared error against exact sums over the dequantised weights, relative to their squares.\n");
  fmt::print("Decode: one row of activations; every pass reads all weights from memory{}.\n",
             report.copies > 1 ? fmt::format(" ({} copies in turn, larger than any cache)", report.copies) : "");
  for (const Projection& projection : report.projections) {
    if (projection.is_head) {
      fmt::print("Prompt: all tokens through every projection, only the last one through the output head, {}.\n",
                 printable(projection.tensor->name));
    }
  }
  for (const std::string& name : report.lookups) {
    fmt::print("Not a projection: {} is looked up row by row.\n", printable(name));
  }
  fmt::print("{}\n", report.passed
                         ? styled("PASS: every projection is as exact as its precision promises.", Style::good)
                         : styled("FAIL: see the lines marked FAIL; qlinear verify says more.", Style::bad));
}

// ---- JSON ---------------------------------------------------------------------------------------

Json projection_json(const Projection& projection, const ModelReport& report, std::span<const Precision> precisions) {
  Json figures = Json::array();
  for (std::size_t i = 0; i < precisions.size(); ++i) {
    const ProjectionFigures& f = projection.figures[i];
    figures.push_back({{"precision", to_string(precisions[i])},
                       {"nmse", f.nmse},
                       {"passed", f.passed},
                       {"decode_ms", f.decode_seconds * 1e3},
                       {"weight_gbytes_per_s", bytes_of(projection) / f.decode_seconds * 1e-9},
                       {"share_of_stream", report.share_of_stream(bytes_of(projection), f.decode_seconds)},
                       {"prefill_m", f.prefill_m},
                       {"prefill_ms", f.prefill_seconds * 1e3},
                       {"prefill_gflops", prefill_gflops(projection, f)}});
  }
  return {{"name", projection.tensor->name},         {"type", projection.tensor->type_name()},
          {"shape", shape_json(*projection.tensor)}, {"bytes", projection.tensor->bytes},
          {"output_head", projection.is_head},       {"precisions", std::move(figures)}};
}

Json report_json(const GgufFile& file, const ModelReport& report, const ReportOptions& options) {
  Json projections = Json::array(), totals = Json::array();
  for (const Projection& projection : report.projections) {
    projections.push_back(projection_json(projection, report, options.precisions));
  }
  for (const ModelTotals& t : report.totals) {
    const auto bytes = static_cast<double>(report.weight_bytes);
    totals.push_back({{"precision", to_string(t.precision)},
                      {"token_ms", t.decode_seconds * 1e3},
                      {"weight_gbytes_per_s", t.weight_bytes_per_second * 1e-9},
                      {"share_of_stream", report.share_of_stream(bytes, t.decode_seconds)},
                      {"prompt_tokens", kPromptTokens},
                      {"prompt_ms", t.prompt_seconds * 1e3},
                      {"prompt_gflops", t.prompt_flops * 1e-9}});
  }
  return {{"file", options.file},
          {"model", model_name(file)},
          {"cpu", cpu_name()},
          {"isa", report.isa},
          {"threads", report.threads},
          {"last_level_cache_bytes", last_level_cache_bytes()},
          {"stream_read_gbytes_per_s", report.stream_bytes_per_second * 1e-9},
          {"weight_bytes", report.weight_bytes},
          {"weight_copies", report.copies},
          {"passed", report.passed},
          {"projections", std::move(projections)},
          {"totals", std::move(totals)},
          {"lookup_tables", report.lookups}};
}

Result<Exit> run(const ReportOptions& options) {
  const auto file = GgufFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  const auto backend = make_backend(options.device);
  if (!backend) return std::unexpected(backend.error());
  const auto measured = [&] {
    constexpr std::uint64_t steps = 1000;
    Progress bar("report", steps);
    return measure_model(*file, *backend, options.precisions, [&](double share, std::string_view what) {
      bar.update(static_cast<std::uint64_t>(share * static_cast<double>(steps)), what);
    });
  }();
  if (!measured) return std::unexpected(measured.error());
  if (auto s = file->check_unchanged(); !s) return std::unexpected(s.error());

  if (options.json) {
    print_json(report_json(*file, *measured, options));
  } else {
    print_heading(*file, *measured);
    print_projections(*measured, options.precisions);
    print_totals(*measured, options.precisions);
    print_notes(*measured);
  }
  return measured->passed ? Exit::yes : Exit::no;
}

}  // namespace

const Command report_command{"report", "Check and time every projection of a model (what ./demo shows)",
                             [](Options& options) -> Action {
                               const auto values = std::make_shared<ReportOptions>();
                               options.model(values->file);
                               options.precisions(values->precisions);
                               options.device(values->device, false);
                               options.json(values->json);
                               return [values] { return run(*values); };
                             }};

}  // namespace qlinear
