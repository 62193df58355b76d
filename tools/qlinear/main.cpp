// qlinear: look at a GGUF file, check and time its linear layers.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "command.hpp"
#include "text.hpp"

namespace {

using qlinear::Exit;

int report_error(std::string_view message, Exit exit) {
  // One line whatever the message is made of: an argument may hold newlines.
  fmt::print(stderr, "qlinear: {}\n", qlinear::printable(message));
  return static_cast<int>(exit);
}

/// Parses, runs the chosen command, and flushes: a full disk behind standard output is an error too.
int run(int argc, char** argv) {
  CLI::App program("Linear layers straight from GGUF files: look, check, apply, measure.", "qlinear");
  program.require_subcommand(1);
  program.set_version_flag("--version", "qlinear " QLINEAR_VERSION);
  program.footer("Exit status: 0 done, or the answer is yes; 1 the answer is no, or the input is bad; 2 usage.");
  const std::array commands{
      qlinear::add_info(program),   qlinear::add_verify(program),      qlinear::add_dequantize(program),
      qlinear::add_apply(program),  qlinear::add_bench(program),       qlinear::add_explain(program),
      qlinear::add_report(program), qlinear::add_make_sample(program),
  };

  const CLI::App* chosen = &program;
  const auto usage_error = [&](std::string_view message) {
    for (const auto& command : commands) {
      if (command.app->parsed()) chosen = command.app;
    }
    const std::string name = chosen == &program ? "qlinear" : "qlinear " + chosen->get_name();
    return report_error(fmt::format("{} (see {} --help)", message, name), Exit::usage);
  };

  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return program.exit(asked);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }

  for (const auto& command : commands) {
    if (!command.app->parsed()) continue;
    try {
      const quantlinear::Result<Exit> result = command.run();
      if (!result) return report_error(result.error().message, Exit::no);
      if (std::fflush(stdout) != 0) return report_error("cannot write to standard output", Exit::no);
      return static_cast<int>(*result);
    } catch (const qlinear::UsageError& error) {
      return usage_error(error.what());
    }
  }
  return usage_error("a command is required");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return report_error("out of memory", Exit::no);
  } catch (const std::exception& error) {
    return report_error(error.what(), Exit::no);
  }
}
