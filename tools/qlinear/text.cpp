#include "text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace qlinear {
namespace {

/// One character of UTF-8, or one byte that is none.
struct Character {
  char32_t code = 0;
  std::size_t length = 1;
  bool valid = false;
};

Character decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {first, 1, false};
  char32_t code = first & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return {first, 1, false};
    code = (code << 6U) | (byte(i) & 0x3fU);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < least[length] || code > 0x10ffff || surrogate) return {first, 1, false};
  return {code, length, true};
}

/// Characters that change how the text around them is shown, or that are not seen at all.
bool disturbs(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

std::string escaped(const Character& c) {
  if (c.valid && c.code == '\n') return "\\n";
  if (c.valid && c.code == '\t') return "\\t";
  if (c.valid && c.code == '\r') return "\\r";
  if (!c.valid || c.code < 0x100) return fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c.code));
  return fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c.code));
}

bool wide(char32_t c) {
  return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
         (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
}

std::string scaled(double value, std::span<const std::string_view> units) {
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} {}", value, units[0]) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace

std::string printable(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Character c = decode(bytes);
    if (!c.valid || disturbs(c.code)) {
      text += escaped(c);
    } else {
      text += bytes.substr(0, c.length);
    }
    bytes.remove_prefix(c.length);
  }
  return text;
}

std::string quoted(std::string_view bytes, std::size_t most) {
  std::string text = "\"";
  std::string_view left = bytes;
  for (std::size_t taken = 0; !left.empty(); ++taken) {
    if (taken == most) return text + fmt::format("\"... ({} bytes)", grouped(bytes.size()));
    const Character c = decode(left);
    if (c.valid && (c.code == '"' || c.code == '\\')) {
      text += '\\';
      text += left[0];
    } else {
      text += printable(left.substr(0, c.length));
    }
    left.remove_prefix(c.length);
  }
  return text + '"';
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character c = decode(text);
    width += c.valid && wide(c.code) ? 2 : 1;
    text.remove_prefix(c.length);
  }
  return width;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 7> units{"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  return scaled(static_cast<double>(bytes), units);
}

std::string human_count(std::uint64_t count) {
  if (count < 10000) return grouped(count);
  static constexpr std::array<std::string_view, 5> units{"", "k", "M", "G", "T"};
  return scaled(static_cast<double>(count), units);
}

std::string grouped(std::uint64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string three_digits(double value) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  const double size = std::fabs(value);
  int decimals = 0;
  if (size > 0 && size < 99.95) decimals = std::clamp(2 - static_cast<int>(std::floor(std::log10(size))), 0, 6);
  return fmt::format("{:.{}f}", value, decimals);
}

std::string milliseconds(double seconds) { return three_digits(seconds * 1e3) + " ms"; }

std::string scientific(double value) {
  if (value == 0) return "0";
  return fmt::format("{:.1e}", value);
}

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.0f} %", share * 100) : "-"; }

std::string counted(std::uint64_t count, std::string_view singular, std::string_view plural) {
  return fmt::format("{} {}", grouped(count), count == 1 ? singular : plural);
}

}  // namespace qlinear
