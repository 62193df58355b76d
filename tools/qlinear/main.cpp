// qlinear: look at a GGUF file, check and time its linear layers.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "command.hpp"
#include "text.hpp"

namespace {

using qlinear::Exit;

int report_error(std::string_view message, Exit exit) {
  // One line whatever the message is made of: an argument may hold newlines.
  fmt::print(stderr, "qlinear: {}\n", qlinear::printable(message));
  return static_cast<int>(exit);
}

const std::array kCommands{
    &qlinear::info_command,  &qlinear::verify_command,  &qlinear::dequantize_command, &qlinear::apply_command,
    &qlinear::bench_command, &qlinear::explain_command, &qlinear::report_command,     &qlinear::make_sample_command,
};

/// A command as the parser knows it.
struct Choice {
  CLI::App* app;
  qlinear::Action action;
};

int run_action(const qlinear::Action& action) {
  const quantlinear::Result<Exit> result = action();
  if (!result) return report_error(result.error().message, Exit::no);
  // A full disk behind standard output is an error too.
  if (std::fflush(stdout) != 0) return report_error("cannot write to standard output", Exit::no);
  return static_cast<int>(*result);
}

int run(int argc, char** argv) {
  CLI::App program("Linear layers straight from GGUF files: look, check, apply, measure.", "qlinear");
  program.require_subcommand(1);
  program.set_version_flag("--version", "qlinear " QLINEAR_VERSION);
  program.footer("Exit status: 0 done, or the answer is yes; 1 the answer is no, or the input is bad; 2 usage.");
  std::vector<Choice> choices;
  for (const qlinear::Command* command : kCommands) {
    CLI::App* app = program.add_subcommand(command->name, command->help);
    qlinear::Options options(*app);
    choices.push_back({app, command->declare(options)});
  }

  std::string name = "qlinear";
  try {
    program.parse(argc, argv);
    const auto chosen = std::ranges::find_if(choices, [](const Choice& choice) { return choice.app->parsed(); });
    name += " " + chosen->app->get_name();
    return run_action(chosen->action);
  } catch (const CLI::Success& asked) {  // --help, --version
    return program.exit(asked);
  } catch (const CLI::ParseError& error) {
    for (const Choice& choice : choices) {
      if (choice.app->parsed()) name += " " + choice.app->get_name();
    }
    return report_error(fmt::format("{} (see {} --help)", error.what(), name), Exit::usage);
  } catch (const qlinear::UsageError& error) {
    return report_error(fmt::format("{} (see {} --help)", error.what(), name), Exit::usage);
  }
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
