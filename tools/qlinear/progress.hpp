// A progress bar on standard error, for a person who waits at a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace qlinear {

/// Draws nothing unless standard error is a terminal and the work takes longer than a moment; erases
/// itself at the end. Debian has no small library for this, and the needs are these few lines.
class Progress {
 public:
  Progress(std::string title, std::uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of the total; `what` is worked on now. Cheap: redraws at most ten times a second.
  void update(std::uint64_t done, std::string_view what = {});

 private:
  using Clock = std::chrono::steady_clock;
  void draw(std::uint64_t done, std::string_view what);

  std::string title_;
  std::uint64_t total_;
  Clock::time_point next_;
  bool enabled_;
  bool drawn_ = false;
};

}  // namespace qlinear
