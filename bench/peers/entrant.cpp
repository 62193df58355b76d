#include "entrant.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace peers {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

constexpr int request_descriptor = 3, answer_descriptor = 4, arena_descriptor = 5;

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    read = ends[0];
    write = ends[1];
  }
};

/// In the child: moves the three descriptors to their numbers, by way of numbers out of the way.
void place_descriptors(int requests, int answers, int arena, const std::string& log) {
  constexpr int out_of_the_way = 64;
  requests = fcntl(requests, F_DUPFD_CLOEXEC, out_of_the_way);
  answers = fcntl(answers, F_DUPFD_CLOEXEC, out_of_the_way);
  arena = fcntl(arena, F_DUPFD_CLOEXEC, out_of_the_way);
  dup2(requests, request_descriptor);
  dup2(answers, answer_descriptor);
  dup2(arena, arena_descriptor);
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
}

}  // namespace

struct Entrant::Process {
  pid_t id;
  File requests, answers;

  Process(pid_t process, int to, int from)
      : id(process), requests(fdopen(to, "w"), std::fclose), answers(fdopen(from, "r"), std::fclose) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    requests.reset();  // end of file ends the worker
    answers.reset();
    waitpid(id, nullptr, 0);
  }
};

Entrant::Entrant(std::string name, std::string precision, std::vector<std::string> command, const Arena& arena,
                 std::string cpus, std::string log)
    : name_(std::move(name)),
      precision_(std::move(precision)),
      log_(std::move(log)),
      command_(std::move(command)),
      arena_(arena.descriptor()) {
  command_.push_back(std::to_string(arena_descriptor));
  command_.push_back(std::move(cpus));
}

Entrant::Entrant(Entrant&&) noexcept = default;
Entrant& Entrant::operator=(Entrant&&) noexcept = default;
Entrant::~Entrant() = default;

void Entrant::start() {
  const Pipe requests, answers;
  std::vector<char*> arguments;
  for (std::string& argument : command_) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    place_descriptors(requests.read, answers.write, arena_, log_);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(requests.read);
  close(answers.write);
  process_ = std::make_unique<Process>(child, requests.write, answers.read);
}

std::string Entrant::ask(const std::string& request) {
  if (!process_) start();
  std::fprintf(process_->requests.get(), "%s\n", request.c_str());
  std::fflush(process_->requests.get());
  std::string answer;
  for (int c = 0; (c = std::fgetc(process_->answers.get())) != '\n';) {
    if (c == EOF) {
      process_.reset();
      throw std::runtime_error("the worker of " + name_ + " died at: " + request);
    }
    answer.push_back(static_cast<char>(c));
  }
  if (!answer.starts_with("ok ")) throw std::runtime_error(answer.substr(answer.size() < 3 ? answer.size() : 3));
  return answer.substr(3);
}

}  // namespace peers
