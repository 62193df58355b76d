// Options that several commands share, with their checks: a bad value is a usage error.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quantlinear/any_backend.hpp"
#include "quantlinear/linear.hpp"
#include "quantlinear/precision.hpp"
#include "quantlinear/quant_type.hpp"

namespace qlinear {

using Layer = quantlinear::QuantLinear<quantlinear::AnyBackend>;

/// Which backend, how many threads, which instruction set.
struct DeviceOptions {
  std::string backend = "cpu";
  std::uint64_t threads = 0;  ///< 0: as many as the process may use
  std::string isa;            ///< empty: the best of this machine
};

/// --threads and --isa, and --backend where the command offers a choice.
void add_device_options(CLI::App& app, DeviceOptions& options, bool offer_backend);
/// The backend that the options name. Error: this machine cannot run the instruction set.
[[nodiscard]] quantlinear::Result<quantlinear::AnyBackend> make_backend(const DeviceOptions& options);

/// An option for a whole number within least .. most.
CLI::Option* add_number_option(CLI::App& app, std::string name, std::uint64_t& value, std::uint64_t least,
                               std::uint64_t most, std::string help);

/// --m LIST: batch sizes, each within 1 .. 65536.
void add_m_option(CLI::App& app, std::vector<std::uint64_t>& m);
/// --precision NAME, and --precision LIST.
void add_precision_option(CLI::App& app, quantlinear::Precision& precision);
void add_precisions_option(CLI::App& app, std::vector<quantlinear::Precision>& precisions);
/// --type LIST: weight types, or "all".
CLI::Option* add_types_option(CLI::App& app, std::vector<quantlinear::GgufQuantType>& types);
/// --json
void add_json_option(CLI::App& app, bool& json);

/// "a,b,c" split at the commas. Empty elements are kept, for the caller to refuse.
[[nodiscard]] std::vector<std::string> split_list(std::string_view list);

}  // namespace qlinear
