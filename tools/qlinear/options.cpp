#include "options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <utility>

#include "quantlinear/cpu_backend.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::CpuBackend;
using quantlinear::GgufQuantType;
using quantlinear::Precision;

namespace {

constexpr std::uint64_t kMostRows = 65536;
constexpr std::uint64_t kMostThreads = 1024;

[[noreturn]] void refuse(const std::string& option, const std::string& why) { throw CLI::ValidationError(option, why); }

std::uint64_t parse_number(const std::string& option, std::string_view text, std::uint64_t least, std::uint64_t most) {
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

/// An option whose text `parse` checks and stores.
CLI::Option* add_parsed(CLI::App& app, const std::string& name, const std::string& help, const std::string& placeholder,
                        const std::function<void(const std::string&)>& parse) {
  return app.add_option_function<std::string>(name, parse, help)->type_name(placeholder);
}

std::vector<std::string_view> instruction_set_names() {
  std::vector<std::string_view> names;
  for (const auto& set : CpuBackend::instruction_sets()) names.push_back(set.name);
  return names;
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

void Options::required(std::string name, std::string help, std::string& value) {
  app_->add_option(std::move(name), value, std::move(help))->required()->type_name("");
}

void Options::optional(std::string name, std::string help, std::string& value) {
  app_->add_option(std::move(name), value, std::move(help))->type_name("");
}

void Options::any_number(std::string name, std::string help, std::vector<std::string>& values) {
  app_->add_option(std::move(name), values, std::move(help))->type_name("");
}

void Options::required_option(std::string names, std::string placeholder, std::string help, std::string& value) {
  app_->add_option(std::move(names), value, std::move(help))->required()->type_name(std::move(placeholder));
}

void Options::flag(std::string name, std::string help, bool& value) {
  app_->add_flag(std::move(name), value, std::move(help));
}

void Options::number(const std::string& name, const std::string& help, std::uint64_t& value, std::uint64_t least,
                     std::uint64_t most) {
  CLI::Option* option = add_parsed(*app_, name, help, "N", [name, least, most, &value](const std::string& text) {
    value = parse_number(name, text, least, most);
  });
  if (value >= least) option->default_str(std::to_string(value));  // else the default is no such number
}

void Options::seconds(std::string name, std::string help, double& value, double most) {
  app_->add_option(std::move(name), value, std::move(help))
      ->check(CLI::Range(0.0, most))
      ->check([](const std::string& text) {  // a NaN is within any range
        return std::string(std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is no number" : "");
      })
      ->type_name("S")
      ->capture_default_str();
}

void Options::model(std::string& file) { required("FILE", "GGUF file, or any part of a split set", file); }

void Options::json(bool& json) { flag("--json", "Print JSON instead of tables", json); }

void Options::device(DeviceOptions& device, bool offer_backend) {
  if (offer_backend) {
    app_->add_option("--backend", device.backend, "reference: exact and slow; cpu: fast")
        ->check(CLI::IsMember({"reference", "cpu"}))
        ->type_name("NAME")
        ->capture_default_str();
  }
  number("--threads", "Number of threads; default: the cores that this process may use", device.threads, 1,
         kMostThreads);
  const std::string help = fmt::format("Instruction set to use: {}; default: the best of this machine",
                                       fmt::join(instruction_set_names(), ", "));
  add_parsed(*app_, "--isa", help, "NAME", [&device](const std::string& name) {
    const std::vector<std::string_view> names = instruction_set_names();
    if (std::ranges::find(names, name) == names.end()) {
      refuse("--isa", fmt::format("{} is none of {}", quoted(name, 40), fmt::join(names, ", ")));
    }
    device.isa = name;
  });
}

void Options::batch_sizes(std::vector<std::uint64_t>& m) {
  const std::string standard = fmt::format("{}", fmt::join(m, ","));
  add_parsed(*app_, "--m", "Numbers of activation rows to try", "LIST", [&m](const std::string& list) {
    m.clear();
    for (const std::string& text : split_list(list)) add_unless_there(m, parse_number("--m", text, 1, kMostRows));
  })->default_str(standard);
}

void Options::precision(Precision& precision) {
  add_parsed(*app_, "--precision", "Precision of the activations: f32, a16 or a8", "NAME",
             [&precision](const std::string& text) { precision = parse_precision(text); })
      ->default_str(std::string(to_string(precision)));
}

void Options::precisions(std::vector<Precision>& precisions) {
  std::vector<std::string_view> names;
  for (const Precision precision : precisions) names.push_back(to_string(precision));
  add_parsed(*app_, "--precision", "Precisions of the activations, out of f32, a16, a8", "LIST",
             [&precisions](const std::string& list) {
               precisions.clear();
               for (const std::string& text : split_list(list)) add_unless_there(precisions, parse_precision(text));
             })
      ->default_str(fmt::format("{}", fmt::join(names, ",")));
}

void Options::interleave(quantlinear::StoreLayout& layout) {
  app_->add_flag_callback(
      "--interleave", [&layout] { layout = quantlinear::StoreLayout::interleaved; },
      "Multiply an interleaved copy of the weights: faster for few rows (a8 only)");
}

void Options::types(std::vector<GgufQuantType>& types) {
  std::vector<std::string_view> names;
  for (const GgufQuantType type : types) names.push_back(to_string(type));
  add_parsed(*app_, "--type", "Weight types of random layers, or all", "LIST", [&types](const std::string& list) {
    types.clear();
    for (const std::string& text : split_list(list)) {
      if (text == "all") {
        for (const auto& info : quantlinear::quant_types()) add_unless_there(types, info.type);
        continue;
      }
      const auto type = quantlinear::quant_type_from_name(text);
      if (!type) refuse("--type", fmt::format("{} is no weight type of GGUF, nor all", quoted(text, 40)));
      add_unless_there(types, *type);
    }
  })->default_str(fmt::format("{}", fmt::join(names, ",")));
}

bool Options::given(const std::string& name) const { return app_->count(name) > 0; }

}  // namespace qlinear
