// What a command of the program is, and the words that the commands share.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "options.hpp"
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

/// What a command does, once its options have been parsed. An Error is printed as
/// `qlinear: message` and means Exit::no.
using Action = std::function<quantlinear::Result<Exit>()>;

struct Command {
  const char* name;
  const char* help;
  Action (*declare)(Options& options);  ///< declares the options, and returns what to do with them
};

extern const Command info_command;
extern const Command verify_command;
extern const Command dequantize_command;
extern const Command apply_command;
extern const Command bench_command;
extern const Command explain_command;
extern const Command report_command;
extern const Command make_sample_command;

}  // namespace qlinear
