#include "table.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "text.hpp"

namespace qlinear {
namespace {

std::string_view code(Style style) {
  switch (style) {
    case Style::strong:
      return "\x1b[1m";
    case Style::faint:
      return "\x1b[2m";
    case Style::good:
      return "\x1b[32m";
    case Style::bad:
      return "\x1b[1;31m";
    case Style::plain:
      break;
  }
  return "";
}

}  // namespace

bool colour_wanted(std::FILE* stream) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool refused = no_colour != nullptr && *no_colour != '\0';
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  return !refused && !dumb && isatty(fileno(stream)) == 1;
}

std::string styled(std::string_view text, Style style) {
  static const bool colour = colour_wanted(stdout);
  if (!colour || style == Style::plain || text.empty()) return std::string(text);
  return fmt::format("{}{}\x1b[0m", code(style), text);
}

void Table::print() const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) widths.push_back(display_width(column.title));
  for (const auto& cells : rows_) {
    for (std::size_t i = 0; i < std::min(cells.size(), widths.size()); ++i) {
      widths[i] = std::max(widths[i], display_width(cells[i].text));
    }
  }

  const auto print_line = [&](const auto& cell_at) {
    std::string line;
    std::size_t owed = 2;  // blanks to put before the next text: none are left at the end of a line
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const Cell cell = cell_at(i);
      const std::size_t padding = widths[i] - display_width(cell.text);
      if (columns_[i].align == Align::right) owed += padding;
      if (!cell.text.empty()) {
        line.append(owed, ' ');
        line += styled(cell.text, cell.style);
        owed = 0;
      }
      if (columns_[i].align == Align::left) owed += padding;
      owed += 2;
    }
    fmt::print("{}\n", line);
  };

  print_line([&](std::size_t i) { return Cell(columns_[i].title, Style::strong); });
  print_line([&](std::size_t i) { return Cell(std::string(widths[i], '-'), Style::faint); });
  for (const auto& cells : rows_) {
    print_line([&](std::size_t i) { return i < cells.size() ? cells[i] : Cell(""); });
  }
}

}  // namespace qlinear
