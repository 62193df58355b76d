// qlinear explain: which kernels a layer will run for each batch size, why, and what memory it takes.
#include <fmt/format.h>

#include <memory>

#include "command.hpp"
#include "json.hpp"
#include "model.hpp"
#include "options.hpp"
#include "table.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::Explanation;
using quantlinear::GgufFile;
using quantlinear::MemoryUse;
using quantlinear::PartExplanation;
using quantlinear::Precision;
using quantlinear::Result;

namespace {

struct ExplainOptions {
  std::string file;
  std::string tensors;
  DeviceOptions device;
  std::vector<std::uint64_t> m{1, 8, 512};
  quantlinear::LoadOptions load{.precision = Precision::a8};
  bool json = false;
};

/// How the layer runs for one m, and what the plan made before loading says about memory.
struct Entry {
  Explanation explanation;
  MemoryUse plan;
};

void print_tables(std::span<const Entry> entries, const std::vector<std::string>& names) {
  const Explanation& first = entries.front().explanation;
  fmt::print("{} x {} (out_features x in_features), {} backend, {}\n\n", first.out_features, first.in_features,
             first.backend, counted(first.threads, "thread", "threads"));
  Table table({right("m"), left("tensor"), left("type"), right("rows"), left("asked"), left("runs"), left("isa"),
               left("kernel"), left("tile"), left("path"), left("note")});
  for (const Entry& entry : entries) {
    const auto& parts = entry.explanation.parts;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const PartExplanation& part = parts[i];
      table.row({i == 0 ? std::to_string(entry.explanation.m) : std::string(),
                 i < names.size() ? printable(names[i]) : std::string(), std::string(to_string(part.kind)),
                 std::to_string(part.rows), std::string(to_string(part.requested)), std::string(to_string(part.runs)),
                 part.instruction_set, part.kernel, fmt::format("{} x {}", part.tile_rows, part.tile_columns),
                 part.path, part.reason});
    }
  }
  table.print();

  fmt::print("\n{}\n", styled("Memory plan", Style::strong));
  Table memory({right("m"), right("resident"), right("shared with the file"), right("transient")});
  for (const Entry& entry : entries) {
    memory.row({std::to_string(entry.explanation.m), human_bytes(entry.plan.resident_bytes),
                human_bytes(entry.plan.shared_bytes), human_bytes(entry.plan.transient_bytes)});
  }
  memory.print();
}

Json entry_json(const Entry& entry, const std::vector<std::string>& names) {
  Json parts = Json::array();
  for (std::size_t i = 0; i < entry.explanation.parts.size(); ++i) {
    const PartExplanation& part = entry.explanation.parts[i];
    parts.push_back({{"tensor", i < names.size() ? names[i] : ""},
                     {"type", to_string(part.kind)},
                     {"rows", part.rows},
                     {"requested", to_string(part.requested)},
                     {"runs", to_string(part.runs)},
                     {"isa", part.instruction_set},
                     {"kernel", part.kernel},
                     {"path", part.path},
                     {"tile_rows", part.tile_rows},
                     {"tile_columns", part.tile_columns},
                     {"reason", part.reason}});
  }
  return {{"m", entry.explanation.m}, {"parts", std::move(parts)}, {"memory_plan", memory_json(entry.plan)}};
}

Result<Exit> run(const ExplainOptions& options) {
  const auto file = GgufFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  const auto backend = make_backend(options.device);
  if (!backend) return std::unexpected(backend.error());
  const auto parts = parts_of(*file, options.tensors);
  if (!parts) return std::unexpected(parts.error());
  const auto layer = Layer::from_gguf_fused(*backend, parts->parts, parts->in_features, options.load);
  if (!layer) return std::unexpected(layer.error());

  std::vector<Entry> entries;
  for (const std::uint64_t m : options.m) {
    const auto plan = backend->memory_plan(parts->parts, parts->in_features, m, options.load);
    if (!plan) return std::unexpected(plan.error());
    entries.push_back({layer->explain(m), *plan});
  }

  const std::vector<std::string> names = split_list(options.tensors);
  if (options.json) {
    Json list = Json::array();
    for (const Entry& entry : entries) list.push_back(entry_json(entry, names));
    const Explanation& first = entries.front().explanation;
    print_json({{"tensors", names},
                {"backend", first.backend},
                {"threads", first.threads},
                {"in_features", first.in_features},
                {"out_features", first.out_features},
                {"explanations", std::move(list)}});
  } else {
    print_tables(entries, names);
  }
  return Exit::yes;
}

}  // namespace

const Command explain_command{
    "explain", "Say which kernels a layer will run, why, and what memory it takes", [](Options& options) -> Action {
      const auto values = std::make_shared<ExplainOptions>();
      options.model(values->file);
      options.required("TENSORS", "Name of a tensor, or names joined by commas: one fused layer", values->tensors);
      options.batch_sizes(values->m);
      options.precision(*values->load.precision);
      options.interleave(values->load.layout);
      options.device(values->device, true);
      options.json(values->json);
      return [values] { return run(*values); };
    }};

}  // namespace qlinear
