#include "output_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <system_error>
#include <utility>

namespace qlinear {

using quantlinear::ErrorCode;
using quantlinear::fail;
using quantlinear::Result;
using quantlinear::Status;

namespace {

std::unexpected<quantlinear::Error> io_error(const std::filesystem::path& path, std::string_view what, int number) {
  return fail(ErrorCode::io,
              fmt::format("{}: cannot {}: {}", path.string(), what, std::generic_category().message(number)));
}

// An interrupted program takes its temporary file with it. One at a time is all that this program
// writes; the handler only uses calls that are safe in a handler.
char doomed_file[4096] = "";
constexpr int kInterrupts[] = {SIGINT, SIGTERM, SIGHUP};
struct sigaction actions_before[std::size(kInterrupts)];

void remove_and_die(int signal) {
  if (doomed_file[0] != '\0') unlink(doomed_file);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

/// To be followed by leave_interrupts, once the file is what it should be. Signals that are ignored (nohup) stay so.
void remove_on_interrupt(const std::string& path) {
  if (path.size() >= sizeof doomed_file) return;
  std::memcpy(doomed_file, path.c_str(), path.size() + 1);
  for (std::size_t i = 0; i < std::size(kInterrupts); ++i) {
    sigaction(kInterrupts[i], nullptr, &actions_before[i]);
    if (actions_before[i].sa_handler == SIG_IGN) continue;
    struct sigaction action{};
    action.sa_handler = remove_and_die;
    sigaction(kInterrupts[i], &action, nullptr);
  }
}

void leave_interrupts() {
  if (doomed_file[0] == '\0') return;
  doomed_file[0] = '\0';
  for (std::size_t i = 0; i < std::size(kInterrupts); ++i) sigaction(kInterrupts[i], &actions_before[i], nullptr);
}

}  // namespace

Result<OutputFile> OutputFile::create(const std::filesystem::path& target) {
  std::error_code ignored;
  const auto status = std::filesystem::status(target, ignored);
  if (std::filesystem::is_directory(status)) return io_error(target, "write", EISDIR);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    const int descriptor = open(target.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0) return io_error(target, "write", errno);
    return OutputFile(target, "", descriptor, true);
  }
  // The file behind a symbolic link is replaced, not the link.
  std::filesystem::path real = target;
  if (std::filesystem::exists(status)) {
    if (auto resolved = std::filesystem::canonical(target, ignored); !ignored) real = std::move(resolved);
    if (access(real.c_str(), W_OK) != 0) return io_error(target, "write", errno);
  }
  std::string temporary = real.string() + ".XXXXXX";
  const int descriptor = mkostemp(temporary.data(), O_CLOEXEC);
  if (descriptor < 0) return io_error(target, "create a temporary file beside it", errno);
  remove_on_interrupt(temporary);
  // mkostemp makes a private file; the result gets the permissions of the file it replaces, or of any new file.
  const mode_t mask = umask(0);
  umask(mask);
  const bool replaces = std::filesystem::exists(status);
  (void)fchmod(descriptor, replaces ? static_cast<mode_t>(status.permissions()) & 0777 : 0666 & ~mask);
  return OutputFile(std::move(real), std::move(temporary), descriptor, false);
}

OutputFile::OutputFile(std::filesystem::path target, std::string temporary, int descriptor, bool direct) noexcept
    : target_(std::move(target)), temporary_(std::move(temporary)), descriptor_(descriptor), direct_(direct) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      direct_(other.direct_) {}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() noexcept {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) unlink(temporary_.c_str());
  temporary_.clear();
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), 1U << 30U));
    if (written < 0) {
      if (errno == EINTR) continue;
      return io_error(target_, "write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status OutputFile::finish() {
  const int descriptor = std::exchange(descriptor_, -1);
  const int closed = close(descriptor);
  if (closed != 0) {
    const int number = errno;
    discard();
    return io_error(target_, "write", number);
  }
  if (direct_) return {};
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int number = errno;
    discard();
    return io_error(target_, "replace", number);
  }
  temporary_.clear();
  leave_interrupts();
  return {};
}

}  // namespace qlinear
