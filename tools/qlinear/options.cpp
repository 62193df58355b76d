#include "options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "quantlinear/cpu_backend.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::AnyBackend;
using quantlinear::CpuBackend;
using quantlinear::GgufQuantType;
using quantlinear::Precision;

namespace {

constexpr std::uint64_t kMostRows = 65536;
constexpr std::uint64_t kMostThreads = 1024;

[[noreturn]] void refuse(std::string_view option, const std::string& why) {
  throw CLI::ValidationError(std::string(option), why);
}

std::uint64_t parse_number(std::string_view option, std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    refuse(option, fmt::format("{} is no whole number from {} to {}", quoted(text, 40), least, most));
  }
  return value;
}

Precision parse_precision(std::string_view text) {
  const auto precision = quantlinear::precision_from_name(text);
  if (!precision) refuse("--precision", fmt::format("{} is none of f32, a16, a8", quoted(text, 40)));
  return *precision;
}

template <class T>
void add_unless_there(std::vector<T>& list, const T& value) {
  if (std::ranges::find(list, value) == list.end()) list.push_back(value);
}

}  // namespace

std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> elements;
  for (std::size_t start = 0;;) {
    const std::size_t comma = list.find(',', start);
    elements.emplace_back(list.substr(start, comma == std::string_view::npos ? comma : comma - start));
    if (comma == std::string_view::npos) return elements;
    start = comma + 1;
  }
}

CLI::Option* add_number_option(CLI::App& app, std::string name, std::uint64_t& value, std::uint64_t least,
                               std::uint64_t most, std::string help) {
  return app
      .add_option_function<std::string>(
          name, [=, &value](const std::string& text) { value = parse_number(name, text, least, most); },
          std::move(help))
      ->type_name("N");
}

void add_device_options(CLI::App& app, DeviceOptions& options, bool offer_backend) {
  if (offer_backend) {
    app.add_option("--backend", options.backend, "reference: exact and slow; cpu: fast")
        ->check(CLI::IsMember({"reference", "cpu"}))
        ->type_name("NAME")
        ->capture_default_str();
  }
  add_number_option(app, "--threads", options.threads, 1, kMostThreads,
                    "Number of threads; default: the CPUs that this process may use");
  std::vector<std::string_view> names;
  for (const auto& set : CpuBackend::instruction_sets()) names.push_back(set.name);
  app.add_option_function<std::string>(
         "--isa",
         [&options](const std::string& name) {
           std::vector<std::string_view> known;
           for (const auto& set : CpuBackend::instruction_sets()) known.push_back(set.name);
           if (std::ranges::find(known, name) == known.end()) {
             refuse("--isa", fmt::format("{} is none of {}", quoted(name, 40), fmt::join(known, ", ")));
           }
           options.isa = name;
         },
         fmt::format("Instruction set to use: {}; default: the best of this machine", fmt::join(names, ", ")))
      ->type_name("NAME");
}

quantlinear::Result<AnyBackend> make_backend(const DeviceOptions& options) {
  quantlinear::CpuOptions cpu;
  cpu.threads.threads = static_cast<std::size_t>(options.threads);
  cpu.instruction_set = options.isa;
  return quantlinear::make_backend(options.backend, cpu);
}

void add_m_option(CLI::App& app, std::vector<std::uint64_t>& m) {
  app.add_option_function<std::string>(
         "--m",
         [&m](const std::string& list) {
           m.clear();
           for (const std::string& text : split_list(list))
             add_unless_there(m, parse_number("--m", text, 1, kMostRows));
         },
         "Numbers of activation rows to try")
      ->type_name("LIST")
      ->default_str(fmt::format("{}", fmt::join(m, ",")));
}

void add_precision_option(CLI::App& app, Precision& precision) {
  app.add_option_function<std::string>(
         "--precision", [&precision](const std::string& text) { precision = parse_precision(text); },
         "Precision of the activations: f32, a16 or a8")
      ->type_name("NAME")
      ->default_str(std::string(to_string(precision)));
}

void add_precisions_option(CLI::App& app, std::vector<Precision>& precisions) {
  std::vector<std::string_view> names;
  for (const Precision precision : precisions) names.push_back(to_string(precision));
  app.add_option_function<std::string>(
         "--precision",
         [&precisions](const std::string& list) {
           precisions.clear();
           for (const std::string& text : split_list(list)) add_unless_there(precisions, parse_precision(text));
         },
         "Precisions of the activations, out of f32, a16, a8")
      ->type_name("LIST")
      ->default_str(fmt::format("{}", fmt::join(names, ",")));
}

CLI::Option* add_types_option(CLI::App& app, std::vector<GgufQuantType>& types) {
  return app
      .add_option_function<std::string>(
          "--type",
          [&types](const std::string& list) {
            types.clear();
            for (const std::string& text : split_list(list)) {
              if (text == "all") {
                for (const auto& info : quantlinear::quant_types()) add_unless_there(types, info.type);
                continue;
              }
              const auto type = quantlinear::quant_type_from_name(text);
              if (!type) refuse("--type", fmt::format("{} is no weight type of GGUF (try all)", quoted(text, 40)));
              add_unless_there(types, *type);
            }
          },
          "Weight types of random layers, or all")
      ->type_name("LIST");
}

void add_json_option(CLI::App& app, bool& json) { app.add_flag("--json", json, "Print JSON instead of tables"); }

}  // namespace qlinear
