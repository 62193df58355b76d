#include <algorithm>
#include <fstream>
#include <string>

#include "limits.hpp"

namespace quantlinear::limits {

// Not sysconf: on virtual machines it adds up the caches of a whole socket.
std::size_t last_level_cache_bytes() {
  std::size_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    std::string type, unit;
    std::size_t size = 0;
    std::ifstream(folder + "type") >> type;
    std::ifstream(folder + "size") >> size >> unit;  // "32768K"
    if (type == "Instruction") continue;
    largest = std::max(largest, unit == "K" ? size << 10 : unit == "M" ? size << 20 : size);
  }
  return largest != 0 ? largest : std::size_t{32} << 20;
}

}  // namespace quantlinear::limits
