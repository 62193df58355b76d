#include "options.hpp"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>
#include <stdexcept>

#include "limits/limits.hpp"

namespace peers {

const char* const usage =
    R"(usage: compare_peers [OPTIONS]
Runs QuantLinear and installed ggml libraries in turn on the same weights and activations.
  --venv DIR            virtual environment with llama-cpp-python and ik-llama-cpp-python
  --peer-folder N=DIR   folder of libggml*.so of a peer named N (repeatable)
  --peers N,N           only these of the peers found
  --types T,T           weight types, "all" or "k" (Q2_K ... Q6_K)      q4_k,q5_k,q6_k,q8_0,q4_0
  --shapes NxK,NxK      rows x columns of the weights                    4096x4096,12288x4096
  --m M,M               activation rows                                  1,4,8,64,512
  --threads T,T                                                          1
  --precision P,P       of ours: a8, a16, f32; "none": peers alone       a8,a16
  --repack yes|no       ours interleaved as well, in a8                  yes
  --isa NAME            instruction set of ours                          the best
  --cpus C,C            CPUs to run on, in turn                          those of this process
  --rounds R            turns of every contestant                        7
  --seconds S           length of a turn                                 0.1
  --cache MIB           last-level cache; weights walk through 4x this   asked of the system
  --by WHAT             what the table shows: median of the turns, or best product      median
  --clock WHAT          wall, or cpu: processor time, for one thread on a busy machine  wall
  --json FILE           everything that was measured
  --worker-log FILE     what the libraries print
)";

namespace {

struct NamedType {
  const char* name;
  std::uint32_t id;
};
constexpr NamedType known_types[] = {
#define QL_QUANT_TYPE(name, file, id) {#file, id},
#include "quantlinear/quant_types.def"
#undef QL_QUANT_TYPE
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> items;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) items.push_back(item);
  return items;
}

template <class Number>
Number number(const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) throw std::runtime_error("not a number: " + text);
  return value;
}

template <class Number>
std::vector<Number> numbers(const std::string& text) {
  std::vector<Number> values;
  for (const std::string& item : split(text)) values.push_back(number<Number>(item));
  return values;
}

std::vector<WeightType> parse_types(const std::string& text) {
  std::vector<WeightType> types;
  for (std::string wanted : split(text)) {
    std::ranges::transform(wanted, wanted.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    const std::size_t before = types.size();
    for (const auto& [name, id] : known_types) {
      const std::string_view known = name;
      const bool k_quant = known.starts_with("q") && known.ends_with("_k");
      if (wanted == known || wanted == "all" || (wanted == "k" && k_quant)) types.push_back({id, name});
    }
    if (types.size() == before) throw std::runtime_error("unknown type: " + wanted);
  }
  return types;
}

std::vector<Shape> parse_shapes(const std::string& text) {
  std::vector<Shape> shapes;
  for (const std::string& item : split(text)) {
    const std::size_t x = item.find('x');
    if (x == std::string::npos) throw std::runtime_error("not a shape NxK: " + item);
    shapes.push_back({number<std::size_t>(item.substr(0, x)), number<std::size_t>(item.substr(x + 1))});
  }
  return shapes;
}

/// The folders of the packages' shared libraries in a virtual environment.
std::vector<PeerFolder> peers_of(const std::filesystem::path& environment) {
  std::vector<PeerFolder> found;
  if (!std::filesystem::is_directory(environment / "lib")) {
    throw std::runtime_error("no virtual environment: " + environment.string());
  }
  for (const auto& python : std::filesystem::directory_iterator(environment / "lib")) {
    for (const auto& [name, package] : {std::pair{"llama", "llama_cpp"}, std::pair{"ik", "ik_llama_cpp"}}) {
      const std::filesystem::path folder = python.path() / "site-packages" / package / "lib";
      if (std::filesystem::exists(folder / "libggml.so")) found.push_back({name, folder});
    }
  }
  return found;
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(static_cast<std::size_t>(i), &set)) cpus.push_back(i);
  }
  return cpus;
}

void set(Options& options, std::vector<std::string>& wanted_peers, const std::string& name, const std::string& value) {
  if (name == "--venv") {
    for (PeerFolder& peer : peers_of(value)) options.peers.push_back(std::move(peer));
  } else if (name == "--peer-folder") {
    const std::size_t equals = value.find('=');
    if (equals == std::string::npos) throw std::runtime_error("--peer-folder wants NAME=DIR");
    options.peers.push_back({value.substr(0, equals), value.substr(equals + 1)});
  } else if (name == "--peers") {
    wanted_peers = split(value);
  } else if (name == "--types") {
    options.types = parse_types(value);
  } else if (name == "--shapes") {
    options.shapes = parse_shapes(value);
  } else if (name == "--m") {
    options.ms = numbers<std::size_t>(value);
  } else if (name == "--threads") {
    options.threads = numbers<std::size_t>(value);
  } else if (name == "--precision") {
    options.precisions = value == "none" ? std::vector<std::string>{} : split(value);
  } else if (name == "--repack") {
    if (value != "yes" && value != "no") throw std::runtime_error("--repack wants yes or no");
    options.repack = value == "yes";
  } else if (name == "--isa") {
    options.isa = value;
  } else if (name == "--cpus") {
    options.cpus = numbers<int>(value);
  } else if (name == "--rounds") {
    options.rounds = number<std::size_t>(value);
  } else if (name == "--seconds") {
    options.seconds = number<double>(value);
  } else if (name == "--cache") {
    options.cache_bytes = number<std::size_t>(value) << 20;
  } else if (name == "--by") {
    if (value != "median" && value != "best") throw std::runtime_error("--by wants median or best");
    options.by_best = value == "best";
  } else if (name == "--clock") {
    if (value != "wall" && value != "cpu") throw std::runtime_error("--clock wants wall or cpu");
    options.cpu_time = value == "cpu";
  } else if (name == "--worker-log") {
    options.worker_log = value;
  } else if (name == "--json") {
    options.json = value;
  } else {
    throw std::runtime_error("unknown option: " + name);
  }
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  options.types = parse_types("q4_k,q5_k,q6_k,q8_0,q4_0");
  options.cpus = allowed_cpus();
  options.cache_bytes = quantlinear::limits::last_level_cache_bytes();
  std::vector<std::string> wanted_peers;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help" || name == "-h") {
      options.help = true;
      return options;
    }
    if (i + 1 == argc) throw std::runtime_error(name + " wants a value");
    set(options, wanted_peers, name, argv[++i]);
  }
  if (!wanted_peers.empty()) {
    std::erase_if(options.peers, [&](const PeerFolder& peer) {
      return std::ranges::find(wanted_peers, peer.name) == wanted_peers.end();
    });
  }
  if (options.rounds == 0 || options.shapes.empty() || options.ms.empty() || options.threads.empty()) {
    throw std::runtime_error("nothing to measure");
  }
  const std::size_t most_threads = *std::ranges::max_element(options.threads);
  if (most_threads > options.cpus.size()) throw std::runtime_error("more threads than CPUs");
  if (most_threads > 1 && options.cpu_time) throw std::runtime_error("--clock cpu is for one thread");
  return options;
}

}  // namespace peers
