// What a command of the program is, and the words that the commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>

#include "quantlinear/error.hpp"

namespace qlinear {

/// Exit status of the program: scripts rely on it.
enum class Exit : int {
  yes = 0,    ///< done, and the answer (of verify, report) is yes
  no = 1,     ///< the answer is no, or the input is bad
  usage = 2,  ///< the command line makes no sense
};

/// A command line that makes no sense in a way only the command itself sees.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A subcommand: its options are bound to `app`; `run` is called after they are parsed. An Error is
/// printed as `qlinear: message` and means Exit::no.
struct Command {
  CLI::App* app = nullptr;
  std::function<quantlinear::Result<Exit>()> run;
};

[[nodiscard]] Command add_info(CLI::App& program);
[[nodiscard]] Command add_verify(CLI::App& program);
[[nodiscard]] Command add_dequantize(CLI::App& program);
[[nodiscard]] Command add_apply(CLI::App& program);
[[nodiscard]] Command add_bench(CLI::App& program);
[[nodiscard]] Command add_explain(CLI::App& program);
[[nodiscard]] Command add_report(CLI::App& program);
[[nodiscard]] Command add_make_sample(CLI::App& program);

}  // namespace qlinear
