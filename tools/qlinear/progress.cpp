#include "progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "text.hpp"

namespace qlinear {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBarWidth = 24;

bool is_terminal() {
  const char* terminal = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

std::size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Progress::Progress(std::string title, std::uint64_t total)
    : title_(std::move(title)), total_(total), next_(Clock::now() + 300ms), enabled_(is_terminal()) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(std::uint64_t done, std::string_view what) {
  if (!enabled_) return;
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + 100ms;
  draw(std::min(done, total_), what);
}

void Progress::draw(std::uint64_t done, std::string_view what) {
  const double share = total_ == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total_);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(kBarWidth));
  const std::string head = fmt::format("{} [{}{}] {:3.0f} %  ", title_, std::string(filled, '#'),
                                       std::string(kBarWidth - filled, '.'), share * 100);
  // One line only: a wrapped one could not be erased.
  const std::size_t width = terminal_width() - 1;
  std::string tail = printable(what);
  if (display_width(head) + display_width(tail) > width) tail.clear();
  if (display_width(head) > width) return;
  std::fputs(("\r\x1b[K" + head + tail).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace qlinear
