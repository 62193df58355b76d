// qlinear verify: are the weights sound, and do the kernels of this machine compute them right?
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "command.hpp"
#include "json.hpp"
#include "model.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "table.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::AnyBackend;
using quantlinear::Error;
using quantlinear::GgufFile;
using quantlinear::GgufTensorInfo;
using quantlinear::Precision;
using quantlinear::Result;
using quantlinear::VerifyReport;
using quantlinear::VerifyResult;

namespace {

struct VerifyCommandOptions {
  std::string file;
  std::vector<std::string> tensors;
  DeviceOptions device;
  std::vector<Precision> precisions{Precision::f32, Precision::a16, Precision::a8};
  std::vector<std::uint64_t> m{1, 5, 64};
  bool outliers = false;
  bool json = false;
};

/// What was found out about one tensor. A vector has no products: its values are scanned only.
struct Finding {
  const GgufTensorInfo* tensor = nullptr;
  std::vector<VerifyReport> reports;       // one per precision
  std::optional<std::uint64_t> broken_at;  // byte offset in the file of the first broken block
  bool passed = true;
};

struct Findings {
  std::vector<Finding> matrices;
  std::vector<Finding> vectors;
  std::vector<const GgufTensorInfo*> skipped;  // types that are no weights: I32, F64, ...
  bool passed = true;
};

Result<Finding> scan_vector(const GgufFile& file, const GgufTensorInfo& tensor) {
  const auto part = part_of(file, tensor);
  if (!part) return std::unexpected(part.error());
  const auto broken = quantlinear::find_non_finite_block(part->kind, part->bytes.bytes());
  if (!broken) return std::unexpected(broken.error());
  Finding finding{&tensor, {}, {}, !broken->has_value()};
  if (*broken) finding.broken_at = tensor.offset + **broken * quantlinear::quant_type_info(part->kind)->block_bytes;
  return finding;
}

Result<Finding> verify_matrix(const AnyBackend& backend, const GgufFile& file, const GgufTensorInfo& tensor,
                              const VerifyCommandOptions& options, const std::function<void(double)>& progress) {
  const auto part = part_of(file, tensor);
  if (!part) return std::unexpected(part.error());
  Finding finding{&tensor, {}, {}, true};
  for (const Precision precision : options.precisions) {
    const auto layer = Layer::from_gguf_fused(backend, std::span(&*part, 1), tensor.in_features(), {precision});
    if (!layer) return std::unexpected(layer.error());
    quantlinear::VerifyOptions verify{.m = options.m, .outliers = options.outliers};
    verify.progress = [&](std::uint64_t done, std::uint64_t all) {
      const double share = all == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(all);
      progress((static_cast<double>(finding.reports.size()) + share) / static_cast<double>(options.precisions.size()));
    };
    auto report = layer->verify(verify);
    if (!report) return std::unexpected(report.error());
    finding.passed = finding.passed && report->passed;
    if (report->broken_block) finding.broken_at = tensor.offset + report->broken_block->byte_offset_in_part;
    finding.reports.push_back(std::move(*report));
  }
  return finding;
}

Result<Findings> verify_all(const AnyBackend& backend, const GgufFile& file,
                            std::span<const GgufTensorInfo* const> tensors, const VerifyCommandOptions& options) {
  std::uint64_t bytes = 0;
  for (const GgufTensorInfo* tensor : tensors) bytes += tensor->bytes;
  Progress bar("verify", bytes);
  Findings findings;
  std::uint64_t done = 0;
  for (const GgufTensorInfo* tensor : tensors) {
    if (!tensor->kind()) {
      findings.skipped.push_back(tensor);
      continue;
    }
    const auto progress = [&](double share) {
      bar.update(done + static_cast<std::uint64_t>(share * static_cast<double>(tensor->bytes)), tensor->name);
    };
    const bool multiplies = is_matrix(*tensor) && tensor->bytes != 0;
    auto finding = multiplies ? verify_matrix(backend, file, *tensor, options, progress) : scan_vector(file, *tensor);
    if (!finding) {
      Error error = finding.error();
      if (error.message.find(tensor->name) == std::string::npos) {
        error.message = fmt::format("tensor {}: {}", quoted(tensor->name, 80), error.message);
      }
      return std::unexpected(std::move(error));
    }
    findings.passed = findings.passed && finding->passed;
    (multiplies ? findings.matrices : findings.vectors).push_back(std::move(*finding));
    done += tensor->bytes;
    progress(0);
  }
  return findings;
}

/// The largest NMSE over the batch sizes; NaN counts as larger than everything.
double worst_nmse(const VerifyReport& report) {
  double worst = 0;
  for (const VerifyResult& result : report.results) {
    if (!(result.nmse <= worst)) worst = result.nmse;
  }
  return worst;
}

std::string blocks_text(const Finding& finding) {
  return finding.broken_at ? fmt::format("broken at byte {}", *finding.broken_at) : "sound";
}

void print_tables(const Findings& findings, const AnyBackend& backend, const VerifyCommandOptions& options) {
  std::vector<Table::Column> columns{left("tensor"), left("type"), right("rows x columns"), left("blocks")};
  for (const Precision precision : options.precisions)
    columns.push_back(right(fmt::format("NMSE {}", to_string(precision))));
  columns.push_back(left("result"));
  Table table(std::move(columns));
  std::vector<std::string> details;
  for (const Finding& finding : findings.matrices) {
    std::vector<Cell> row{printable(finding.tensor->name), finding.tensor->type_name(), shape_text(*finding.tensor),
                          Cell(blocks_text(finding), finding.broken_at ? Style::bad : Style::plain)};
    for (const VerifyReport& report : finding.reports) {
      row.emplace_back(scientific(worst_nmse(report)), report.passed ? Style::plain : Style::bad);
      for (const VerifyResult& result : report.results) {
        if (result.passed) continue;
        details.push_back(fmt::format("{}, {}, m = {}: NMSE {}, limit {}, largest error {}",
                                      printable(finding.tensor->name), to_string(report.precision), result.m,
                                      scientific(result.nmse), scientific(result.nmse_limit),
                                      scientific(result.max_abs_error)));
      }
    }
    row.emplace_back(finding.passed ? "pass" : "FAIL", finding.passed ? Style::good : Style::bad);
    table.row(std::move(row));
  }
  for (const Finding& finding : findings.vectors) {
    if (finding.broken_at) {
      details.push_back(fmt::format("{}: {} vector, a value is NaN or infinite at byte {}",
                                    printable(finding.tensor->name), finding.tensor->type_name(), *finding.broken_at));
    }
  }
  if (!table.empty()) table.print();
  for (const std::string& detail : details) fmt::print("{} {}\n", styled("FAIL", Style::bad), detail);
  if (!table.empty()) fmt::print("\n");

  const auto failed = static_cast<std::size_t>(std::ranges::count(findings.matrices, false, &Finding::passed) +
                                               std::ranges::count(findings.vectors, false, &Finding::passed));
  fmt::print("{}: {} checked on {}",
             styled(findings.passed ? "PASS" : "FAIL", findings.passed ? Style::good : Style::bad),
             counted(findings.matrices.size(), "matrix", "matrices"), backend.name());
  if (!findings.vectors.empty()) {
    fmt::print("; {} scanned for NaN and infinity", counted(findings.vectors.size(), "vector", "vectors"));
  }
  if (!findings.skipped.empty()) {
    fmt::print("; {} skipped (no weights)", counted(findings.skipped.size(), "tensor", "tensors"));
  }
  if (failed > 0) fmt::print("; {} failed", failed);
  fmt::print("\n");
}

Json finding_json(const Finding& finding, const VerifyCommandOptions& options) {
  Json precisions = Json::array();
  for (std::size_t i = 0; i < finding.reports.size(); ++i) {
    Json results = Json::array();
    for (const VerifyResult& result : finding.reports[i].results) {
      results.push_back({{"m", result.m},
                         {"nmse", result.nmse},
                         {"max_abs_error", result.max_abs_error},
                         {"nmse_limit", result.nmse_limit},
                         {"passed", result.passed}});
    }
    precisions.push_back({{"precision", to_string(options.precisions[i])},
                          {"runs", to_string(finding.reports[i].precision)},
                          {"passed", finding.reports[i].passed},
                          {"nmse", worst_nmse(finding.reports[i])},
                          {"results", std::move(results)}});
  }
  Json item{{"name", finding.tensor->name},         {"type", finding.tensor->type_name()},
            {"shape", shape_json(*finding.tensor)}, {"passed", finding.passed},
            {"broken_block_offset", nullptr},       {"precisions", std::move(precisions)}};
  if (finding.broken_at) item["broken_block_offset"] = *finding.broken_at;
  return item;
}

Result<Exit> run(const VerifyCommandOptions& options) {
  const auto file = GgufFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  const auto backend = make_backend(options.device);
  if (!backend) return std::unexpected(backend.error());
  const auto tensors = find_tensors(*file, options.tensors);
  if (!tensors) return std::unexpected(tensors.error());
  const auto findings = verify_all(*backend, *file, *tensors, options);
  if (!findings) return std::unexpected(findings.error());
  // A verdict about a file that changed meanwhile would be about nothing.
  if (auto unchanged = file->check_unchanged(); !unchanged) return std::unexpected(unchanged.error());

  if (options.json) {
    Json list = Json::array(), skipped = Json::array();
    for (const auto* group : {&findings->matrices, &findings->vectors}) {
      for (const Finding& finding : *group) list.push_back(finding_json(finding, options));
    }
    for (const GgufTensorInfo* tensor : findings->skipped) skipped.push_back(tensor->name);
    print_json({{"file", options.file},
                {"backend", backend->name()},
                {"passed", findings->passed},
                {"tensors", std::move(list)},
                {"skipped", std::move(skipped)}});
  } else {
    print_tables(*findings, *backend, options);
  }
  return findings->passed ? Exit::yes : Exit::no;
}

}  // namespace

const Command verify_command{
    "verify", "Check the weights, and the kernels of this machine against exact sums", [](Options& options) -> Action {
      const auto values = std::make_shared<VerifyCommandOptions>();
      options.model(values->file);
      options.any_number("TENSOR", "Tensors to check; default: all", values->tensors);
      options.batch_sizes(values->m);
      options.precisions(values->precisions);
      options.device(values->device, true);
      options.flag("--outliers", "Put one value of 30 standard deviations into every activation row", values->outliers);
      options.json(values->json);
      return [values] { return run(*values); };
    }};

}  // namespace qlinear
