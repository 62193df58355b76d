#include "gguf/message.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

namespace quantlinear::gguf {
namespace {

std::size_t shared_ends(std::string_view a, std::string_view b) {
  const std::size_t most = std::min(a.size(), b.size());
  std::size_t front = 0;
  while (front < most && a[front] == b[front]) ++front;
  std::size_t back = 0;
  while (back < most - front && a[a.size() - 1 - back] == b[b.size() - 1 - back]) ++back;
  return front + back;
}

}  // namespace

std::string printable_path(const std::filesystem::path& path) {
  const std::string text = path.string();
  return printable(std::string_view(text), text.size());
}

std::string system_message(std::string_view doing, int number) {
  return std::string(doing) + ": " + std::system_category().message(number);
}

std::string nearest_names(std::string_view wanted, std::size_t count,
                          const std::function<std::string_view(std::size_t)>& name_of) {
  std::array<std::pair<std::size_t, std::size_t>, 3> best{};  // {shared bytes, index}, best first
  for (std::size_t i = 0; i < count; ++i) {
    std::pair<std::size_t, std::size_t> candidate{shared_ends(wanted, name_of(i)), i};
    for (auto& place : best) {
      const bool earlier = candidate.first == place.first && candidate.second < place.second;
      if (candidate.first > place.first || earlier) std::swap(candidate, place);
    }
  }
  std::string text;
  for (const auto& [shared, index] : best) {
    if (shared == 0) break;
    text += (text.empty() ? ", did you mean \"" : ", \"") + printable(name_of(index)) + "\"";
  }
  return text;
}

}  // namespace quantlinear::gguf
