// A contestant of the comparison: a library in one mode, in a process of its own.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "arena.hpp"

namespace peers {

class Entrant {
 public:
  /// `command`: the worker's program and arguments, but for the last two, which say where its descriptors
  /// are and where it may run: the arena and `cpus`. What the library prints goes to `log`.
  Entrant(std::string name, std::string precision, std::vector<std::string> command, const Arena& arena,
          std::string cpus, std::string log);
  Entrant(Entrant&&) noexcept;
  Entrant& operator=(Entrant&&) noexcept;
  ~Entrant();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// "a8", "a16", "f32": ours; empty: a peer.
  [[nodiscard]] const std::string& precision() const noexcept { return precision_; }
  [[nodiscard]] bool ours() const noexcept { return !precision_.empty(); }

  /// Sends one request and returns what follows "ok ". Throws std::runtime_error on "no REASON", or if
  /// the worker died; the next request starts a new one.
  std::string ask(const std::string& request);

 private:
  struct Process;
  void start();

  std::string name_, precision_, log_;
  std::vector<std::string> command_;
  int arena_;
  std::unique_ptr<Process> process_;
};

}  // namespace peers
