// Aligned tables on standard output, with colour where a terminal shows them.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qlinear {

/// Whether `stream` wants colour: a terminal that is not "dumb", and NO_COLOR is unset or empty.
[[nodiscard]] bool colour_wanted(std::FILE* stream);

enum class Style : unsigned char { plain, strong, faint, good, bad };

/// `text` in a style, if standard output wants colour; `text` itself otherwise.
[[nodiscard]] std::string styled(std::string_view text, Style style);

struct Cell {
  Cell(std::string content, Style look = Style::plain) : text(std::move(content)), style(look) {}  // NOLINT
  Cell(const char* content) : text(content) {}                                                     // NOLINT
  Cell(std::string_view content) : text(content) {}                                                // NOLINT
  std::string text;
  Style style = Style::plain;
};

/// Collects rows, then prints them in columns as wide as their widest cell.
class Table {
 public:
  enum class Align : unsigned char { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// As many cells as there are columns; missing ones are empty.
  void row(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  /// Titles, a rule, rows; every line starts with two blanks and has none at its end.
  void print() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// Shorthands for a list of columns.
[[nodiscard]] inline Table::Column left(std::string title) { return {std::move(title), Table::Align::left}; }
[[nodiscard]] inline Table::Column right(std::string title) { return {std::move(title), Table::Align::right}; }

}  // namespace qlinear
