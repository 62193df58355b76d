// The options of a command. A bad value is a usage error, found before the command runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quantlinear/backend.hpp"
#include "quantlinear/precision.hpp"
#include "quantlinear/quant_type.hpp"

namespace CLI {
class App;  // CLI11 is a large header: only options.cpp and main.cpp include it
}

namespace qlinear {

/// Which backend, how many threads, which instruction set.
struct DeviceOptions {
  std::string backend = "cpu";
  std::uint64_t threads = 0;  ///< 0: as many as the process may use
  std::string isa;            ///< empty: the best of this machine
};

/// Declares options. Each is bound to a variable, which must live until the command has run and whose
/// value at the declaration is the default.
class Options {
 public:
  explicit Options(CLI::App& app) : app_(&app) {}

  /// What stands without a name, in the order of the declarations.
  void required(std::string name, std::string help, std::string& value);
  void optional(std::string name, std::string help, std::string& value);
  void any_number(std::string name, std::string help, std::vector<std::string>& values);

  /// -o,--output FILE: must be given.
  void required_option(std::string names, std::string placeholder, std::string help, std::string& value);
  void flag(std::string name, std::string help, bool& value);
  /// A whole number within least .. most. `default_text` says what happens without it.
  void number(const std::string& name, const std::string& help, std::uint64_t& value, std::uint64_t least,
              std::uint64_t most);
  void seconds(std::string name, std::string help, double& value, double most);

  /// FILE, the model, and --json: nearly every command has them.
  void model(std::string& file);
  void json(bool& json);
  /// --threads and --isa, and --backend where the command offers a choice.
  void device(DeviceOptions& device, bool offer_backend);
  /// --m LIST: batch sizes, each within 1 .. 65536.
  void batch_sizes(std::vector<std::uint64_t>& m);
  /// --precision NAME, or LIST.
  void precision(quantlinear::Precision& precision);
  void precisions(std::vector<quantlinear::Precision>& precisions);
  /// --interleave: the layout in which layers keep their weights.
  void interleave(quantlinear::StoreLayout& layout);
  /// --type LIST: weight types, or "all".
  void types(std::vector<quantlinear::GgufQuantType>& types);

  /// Whether the user gave the option, once the command line is parsed.
  [[nodiscard]] bool given(const std::string& name) const;

 private:
  CLI::App* app_;
};

/// "a,b,c" split at the commas. Empty elements are kept, for the caller to refuse.
[[nodiscard]] std::vector<std::string> split_list(std::string_view list);

}  // namespace qlinear
