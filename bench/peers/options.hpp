// What compare_peers was asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "contestant.hpp"

namespace peers {

struct Shape {
  std::size_t n = 0;  ///< rows of weights, columns of the result
  std::size_t k = 0;  ///< weights in a row
};

struct PeerFolder {
  std::string name;
  std::filesystem::path folder;
};

struct Options {
  std::vector<WeightType> types;
  std::vector<Shape> shapes = {{4096, 4096}, {12288, 4096}};
  std::vector<std::size_t> ms = {1, 4, 8, 64, 512};
  std::vector<std::size_t> threads = {1};
  std::vector<std::string> precisions = {"a8", "a16"};  ///< of ours; empty: peers alone
  std::vector<PeerFolder> peers;
  std::vector<int> cpus;   ///< where threads run, in turn
  bool repack = true;      ///< ours interleaved as well, in a8
  std::string isa;         ///< of ours; empty: what the library chooses
  std::size_t rounds = 7;  ///< turns of every contestant
  double seconds = 0.1;    ///< of one turn
  double pause = 0.002;    ///< between turns, for threads of the one before to go to sleep
  std::size_t cache_bytes = 0;
  bool by_best = false;   ///< tables show the fastest product instead of the median of the turns
  bool cpu_time = false;  ///< processor time instead of time that passed; one thread only
  std::filesystem::path json;
  std::filesystem::path worker_log = "/dev/null";
  bool help = false;
};

/// Throws std::runtime_error with one line about what is wrong.
Options parse_options(int argc, char** argv);

/// How to use the program.
extern const char* const usage;

}  // namespace peers
