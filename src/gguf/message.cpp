#include "gguf/message.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

namespace quantlinear::gguf {
namespace {

// Length of the well-formed UTF-8 sequence at `text[at]`, or 0: no overlong forms, no surrogates,
// nothing past U+10FFFF.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const std::size_t left = text.size() - at;
  const auto continues = [&](std::size_t i) { return i < left && (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

std::size_t shared_ends(std::string_view a, std::string_view b) {
  const std::size_t most = std::min(a.size(), b.size());
  std::size_t front = 0;
  while (front < most && a[front] == b[front]) ++front;
  std::size_t back = 0;
  while (back < most - front && a[a.size() - 1 - back] == b[b.size() - 1 - back]) ++back;
  return front + back;
}

}  // namespace

std::string printable(std::string_view bytes, std::size_t limit) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t length = utf8_length(bytes, at);
    const auto byte = static_cast<unsigned char>(bytes[at]);
    // U+0080..U+009F (C2 80..C2 9F) are control characters too.
    const bool control = byte < 0x20 || byte == 0x7F || byte == '"' || byte == '\\' ||
                         (length == 2 && byte == 0xC2 && static_cast<unsigned char>(bytes[at + 1]) < 0xA0);
    const std::size_t step = length == 0 || control ? 1 : length;
    if (at + step > limit) return text + "...";
    if (step == 1 && (length == 0 || control)) {
      text += "\\x";
      text += digits[byte >> 4];
      text += digits[byte & 15];
    } else {
      text += bytes.substr(at, step);
    }
    at += step;
  }
  return text;
}

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
