// A .npy file is: 6 bytes "\x93NUMPY", version (2 bytes), length of the header (u16 in version 1, u32
// in version 2), the header: a Python dictionary such as
//   {'descr': '<f4', 'fortran_order': False, 'shape': (5, 768), }
// padded with blanks to end on a multiple of 64 with a newline; then the values. Integers are
// little-endian. The dictionary is read by a parser for exactly this, not by anything that executes.
#include "npy.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "text.hpp"

namespace qlinear {

using quantlinear::Error;
using quantlinear::ErrorCode;
using quantlinear::fail;
using quantlinear::Result;
using quantlinear::Status;

namespace {

constexpr std::string_view kMagic{"\x93NUMPY", 6};
constexpr std::uint64_t kMostHeaderBytes = 1U << 20U;  // numpy writes 118; even structured types stay far below

/// .npy values are little-endian; this swaps them on a machine that is not.
void swap_if_big_endian(std::span<float> values) {
  if constexpr (std::endian::native == std::endian::big) {
    for (float& value : values) value = std::bit_cast<float>(std::byteswap(std::bit_cast<std::uint32_t>(value)));
  }
}

class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path) : name_(printable(path.string())) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused as no regular file.
    descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor_ < 0) open_error_ = errno;
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  [[nodiscard]] Status check() {
    struct stat info{};
    if (descriptor_ >= 0 && fstat(descriptor_, &info) != 0) open_error_ = errno;
    if (open_error_ != 0) {
      return fail(ErrorCode::io,
                  fmt::format("{}: cannot open: {}", name_, std::generic_category().message(open_error_)));
    }
    if (!S_ISREG(info.st_mode)) return fail(ErrorCode::io, name_ + ": is no regular file");
    size_ = static_cast<std::uint64_t>(info.st_size);
    return {};
  }
  [[nodiscard]] std::uint64_t left() const { return size_ - position_; }
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// Reads exactly `count` bytes, which the caller has compared with left().
  [[nodiscard]] Status read(void* target, std::uint64_t count) {
    auto* bytes = static_cast<char*>(target);
    while (count > 0) {
      const ssize_t got =
          ::read(descriptor_, bytes, static_cast<std::size_t>(std::min<std::uint64_t>(count, 1U << 30U)));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        return fail(ErrorCode::io, fmt::format("{}: cannot read at byte {}: {}", name_, position_,
                                               std::generic_category().message(errno)));
      }
      if (got == 0) return malformed("data", position_, "the end of the file", fmt::format("{} more bytes", count));
      bytes += got;
      count -= static_cast<std::uint64_t>(got);
      position_ += static_cast<std::uint64_t>(got);
    }
    return {};
  }

  [[nodiscard]] std::unexpected<Error> malformed(std::string_view field, std::uint64_t offset, std::string_view found,
                                                 std::string_view expected) const {
    return fail(ErrorCode::malformed_file,
                fmt::format("{}: {} at byte {}: found {}, expected {}", name_, field, offset, found, expected), offset);
  }

 private:
  std::string name_;
  int descriptor_ = -1;
  int open_error_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t position_ = 0;
};

/// Reads the dictionary, field by field, and refuses everything that is not float32, C order, 2-D.
class HeaderParser {
 public:
  HeaderParser(const InputFile& file, std::string_view text, std::uint64_t offset)
      : file_(file), text_(text), offset_(offset) {}

  [[nodiscard]] Result<std::pair<std::uint64_t, std::uint64_t>> parse() {
    if (!take('{')) return wrong("header", "a dictionary, '{'");
    while (!take('}')) {
      const std::size_t key_at = next();
      const std::optional<std::string_view> key = string();
      if (!key) return wrong("header", "a key in quotes, or '}'");
      if (!take(':')) return wrong("header", "':' after a key");
      const Status field = value(*key, key_at);
      if (!field) return std::unexpected(field.error());
      if (!take(',') && !at('}')) return wrong("header", "',' or '}' after a value");
    }
    if (next() != text_.size()) return wrong("header", "nothing but blanks after the dictionary");
    if (!seen_descr_ || !seen_order_ || !shape_) {
      const std::string_view missing = !seen_descr_ ? "'descr'" : !seen_order_ ? "'fortran_order'" : "'shape'";
      return file_.malformed("header", offset_, fmt::format("no {}", missing), "'descr', 'fortran_order' and 'shape'");
    }
    return *shape_;
  }

 private:
  Status value(std::string_view key, std::size_t key_at) {
    if (key == "descr" && !seen_descr_) {
      seen_descr_ = true;
      const std::size_t start = next();
      const std::optional<std::string_view> descr = string();
      if (descr && *descr == "<f4") return {};
      const std::string found = descr ? quoted(*descr, 20) : std::string("no string");
      return file_.malformed("element type ('descr')", offset_ + start, found, "\"<f4\", little-endian float32");
    }
    if (key == "fortran_order" && !seen_order_) {
      seen_order_ = true;
      const std::size_t start = next();
      if (word("False")) return {};
      if (word("True"))
        return file_.malformed("'fortran_order'", offset_ + start, "True", "False, rows one after another");
      return wrong("'fortran_order'", "False");
    }
    if (key == "shape" && !shape_) return shape();
    return file_.malformed("header", offset_ + key_at, fmt::format("key {}", quoted(key, 30)),
                           "'descr', 'fortran_order' and 'shape', once each");
  }

  Status shape() {
    const std::size_t start = next();
    if (!take('(')) return wrong("'shape'", "a tuple, '('");
    std::vector<std::uint64_t> dimensions;
    while (!take(')')) {
      const std::size_t at_number = next();
      std::uint64_t dimension = 0;
      const char* const end = text_.data() + text_.size();
      const auto [stop, error] = std::from_chars(text_.data() + at_number, end, dimension);
      if (error == std::errc::result_out_of_range) {
        return file_.malformed("'shape'", offset_ + at_number, "a dimension over 2^64",
                               "a dimension that the file can hold");
      }
      if (error != std::errc()) return wrong("'shape'", "a number");
      position_ = static_cast<std::size_t>(stop - text_.data());
      dimensions.push_back(dimension);
      if (!take(',') && !at(')')) return wrong("'shape'", "',' or ')'");
    }
    if (dimensions.size() != 2) {
      return file_.malformed("'shape'", offset_ + start, counted(dimensions.size(), "dimension", "dimensions"),
                             "2 dimensions, (rows, columns)");
    }
    shape_.emplace(dimensions[0], dimensions[1]);
    return {};
  }

  /// Position of the next character that is no blank.
  std::size_t next() {
    while (position_ < text_.size() &&
           (text_[position_] == ' ' || text_[position_] == '\n' || text_[position_] == '\t')) {
      ++position_;
    }
    return position_;
  }
  bool at(char c) { return next() < text_.size() && text_[position_] == c; }
  bool take(char c) {
    if (!at(c)) return false;
    ++position_;
    return true;
  }
  bool word(std::string_view expected) {
    if (!text_.substr(next()).starts_with(expected)) return false;
    position_ += expected.size();
    return true;
  }
  std::optional<std::string_view> string() {
    if (!at('\'') && !at('"')) return {};
    const std::size_t end = text_.find(text_[position_], position_ + 1);
    if (end == std::string_view::npos) return {};
    const std::string_view content = text_.substr(position_ + 1, end - position_ - 1);
    position_ = end + 1;
    return content;
  }
  std::unexpected<Error> wrong(std::string_view field, std::string_view expected) {
    const std::size_t start = next();
    const std::string found = start < text_.size() ? quoted(text_.substr(start, 12), 12) : "the end of the header";
    return file_.malformed(field, offset_ + start, found, expected);
  }

  const InputFile& file_;
  std::string_view text_;
  std::uint64_t offset_;
  std::size_t position_ = 0;
  bool seen_descr_ = false, seen_order_ = false;
  std::optional<std::pair<std::uint64_t, std::uint64_t>> shape_;
};

/// The length of the dictionary, after magic and version.
Result<std::uint64_t> read_header_length(InputFile& file) {
  std::array<char, 8> start{};
  if (file.left() < 10) {
    return file.malformed("header", 0, fmt::format("a file of {}", counted(file.size(), "byte", "bytes")),
                          "a .npy file, at least 10 bytes");
  }
  if (auto s = file.read(start.data(), start.size()); !s) return std::unexpected(s.error());
  if (std::string_view(start.data(), kMagic.size()) != kMagic) {
    return file.malformed("magic", 0, quoted({start.data(), kMagic.size()}, kMagic.size()),
                          "\"\\x93NUMPY\", a .npy file");
  }
  const int major = static_cast<unsigned char>(start[6]);
  const int minor = static_cast<unsigned char>(start[7]);
  if ((major != 1 && major != 2) || minor != 0) {
    return file.malformed("version", 6, fmt::format("{}.{}", major, minor), "1.0 or 2.0");
  }
  std::array<unsigned char, 4> length{};
  const std::uint64_t width = major == 1 ? 2 : 4;
  if (file.left() < width) return file.malformed("header length", 8, "the end of the file", "4 bytes");
  if (auto s = file.read(length.data(), width); !s) return std::unexpected(s.error());
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value |= static_cast<std::uint64_t>(length[i]) << (8 * i);
  if (value > file.left()) {
    return file.malformed("header length", 8, std::to_string(value),
                          fmt::format("at most the {} bytes left", file.left()));
  }
  if (value > kMostHeaderBytes) {
    return file.malformed("header length", 8, std::to_string(value), fmt::format("at most {}", kMostHeaderBytes));
  }
  return value;
}

}  // namespace

Result<Matrix> read_npy(const std::filesystem::path& path) try {
  InputFile file(path);
  if (auto s = file.check(); !s) return std::unexpected(s.error());
  const Result<std::uint64_t> length = read_header_length(file);
  if (!length) return std::unexpected(length.error());
  const std::uint64_t header_at = file.position();
  std::string header(*length, ' ');
  if (auto s = file.read(header.data(), *length); !s) return std::unexpected(s.error());
  const auto shape = HeaderParser(file, header, header_at).parse();
  if (!shape) return std::unexpected(shape.error());

  // rows * columns * 4 == left, without ever forming a product that could wrap.
  Matrix matrix{shape->first, shape->second, {}};
  const std::uint64_t floats = file.left() / sizeof(float);
  const bool none = matrix.rows == 0 || matrix.columns == 0;
  const bool fits = none ? file.left() == 0
                         : matrix.columns <= floats && floats % matrix.columns == 0 &&
                               floats / matrix.columns == matrix.rows && file.left() % sizeof(float) == 0;
  if (!fits) {
    return file.malformed("data", file.position(), counted(file.left(), "byte", "bytes"),
                          fmt::format("{} x {} values of 4 bytes", matrix.rows, matrix.columns));
  }
  if (none) return matrix;
  matrix.values.resize(floats);
  if (auto s = file.read(matrix.values.data(), floats * sizeof(float)); !s) return std::unexpected(s.error());
  swap_if_big_endian(matrix.values);
  return matrix;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::out_of_memory, printable(path.string()) + ": too large for the memory of this machine");
}

Result<NpyWriter> NpyWriter::create(const std::filesystem::path& path, std::uint64_t rows, std::uint64_t columns) {
  Result<OutputFile> file = OutputFile::create(path);
  if (!file) return std::unexpected(file.error());
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  constexpr std::size_t fixed = 10;  // magic, version 1.0, u16 length
  const std::size_t total = (fixed + header.size() + 1 + 63) / 64 * 64;
  header.append(total - fixed - header.size() - 1, ' ');
  header += '\n';
  std::string start(kMagic);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 0xffU), static_cast<char>(header.size() >> 8U)};
  start += header;
  if (auto s = file->write(std::as_bytes(std::span(start))); !s) return std::unexpected(s.error());
  return NpyWriter(std::move(*file), total + rows * columns * sizeof(float));
}

Status NpyWriter::write(std::span<const float> values) {
  if constexpr (std::endian::native == std::endian::big) {
    std::vector<float> swapped(values.begin(), values.end());
    swap_if_big_endian(swapped);
    return file_.write(std::as_bytes(std::span<const float>(swapped)));
  } else {
    return file_.write(std::as_bytes(values));
  }
}

Status NpyWriter::finish() { return file_.finish(); }

}  // namespace qlinear
