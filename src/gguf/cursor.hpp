// Walks through a header. The only bounds checks of the parser are here, and all of them compare by
// subtraction, so that no number from a file can make a sum wrap.
//
// The first error stays: from then on every take returns 0, skips nothing, and ok() is false. A
// parser reads a record through and asks ok() once; loops ask it on every turn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "gguf/header_bytes.hpp"
#include "gguf/little_endian.hpp"
#include "gguf/message.hpp"

namespace quantlinear::gguf {

/// Where the bytes of a string lie: a position, because the header may move while it grows.
struct Text {
  std::uint64_t at = 0;
  std::uint64_t size = 0;
};

/// What is being read, for messages: "array count (3, tokenizer.ggml.tokens)".
struct Field {
  std::string_view what;
  std::optional<std::uint64_t> index = {};  ///< number of the key or tensor, from 0
  std::optional<Text> name = {};            ///< its name, once it has been read
};

class Cursor {
 public:
  /// `bytes` and `file` (the name for messages) must outlive the cursor.
  Cursor(HeaderBytes& bytes, std::string_view file) noexcept : bytes_(bytes), file_(file) {}

  [[nodiscard]] bool ok() const noexcept { return !error_; }
  [[nodiscard]] std::unexpected<Error> error() const { return std::unexpected(*error_); }
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  [[nodiscard]] std::uint64_t left() const noexcept { return bytes_.file_size() - position_; }
  /// The characters of a text; valid until the next take or skip.
  [[nodiscard]] std::string_view characters(Text text) const noexcept {
    return {reinterpret_cast<const char*>(bytes_.at(text.at)), static_cast<std::size_t>(text.size)};
  }
  [[nodiscard]] const std::byte* at(std::uint64_t position) const noexcept { return bytes_.at(position); }

  /// A number.
  template <class T>
  [[nodiscard]] T take(const Field& field) {
    if (!need(sizeof(T), field)) return T{};
    const T value = load<T>(bytes_.at(position_));
    position_ += sizeof(T);
    return value;
  }

  /// A length, and that many bytes of text, at most `limit`.
  [[nodiscard]] Text take_text(const Field& field, std::uint64_t limit) {
    const std::uint64_t start = position_;
    const auto size = take<std::uint64_t>(field);
    if (!ok()) return {};
    if (size > left()) {
      refuse(ErrorCode::malformed_file, start, field,
             "found " + std::to_string(size) + ", only " + std::to_string(left()) + " bytes are left in the file");
      return {};
    }
    if (size > limit) {
      refuse(ErrorCode::malformed_file, start, field,
             "found " + std::to_string(size) + ", expected at most " + std::to_string(limit) + " bytes");
      return {};
    }
    const Text text{position_, size};
    skip(size, field);
    return text;
  }

  /// A number of records that take at least `least` bytes each.
  [[nodiscard]] std::uint64_t take_count(const Field& field, std::uint64_t least) {
    const std::uint64_t start = position_;
    const auto count = take<std::uint64_t>(field);
    if (count <= left() / least) return count;
    refuse(ErrorCode::malformed_file, start, field,
           "found " + std::to_string(count) + ", they take at least " + std::to_string(least) +
               " bytes each and only " + std::to_string(left()) + " bytes are left in the file");
    return 0;
  }

  void skip(std::uint64_t count, const Field& field) {
    if (need(count, field)) position_ += count;
  }

  /// Back to a position where the cursor has been.
  void go_back(std::uint64_t position) noexcept { position_ = position; }

  /// Makes the next `count` bytes readable through at(position()).
  bool need(std::uint64_t count, const Field& field) {
    if (!ok()) return false;
    if (count > left()) {
      refuse(ErrorCode::malformed_file, position_, field,
             "found " + std::to_string(left()) + " bytes up to the end of the file, needs " + std::to_string(count));
      return false;
    }
    if (count > largest_header - position_) {
      refuse(ErrorCode::unsupported, position_, field,
             "found " + std::to_string(count) + " bytes, the header would pass the limit of " +
                 std::to_string(largest_header) + " bytes");
      return false;
    }
    if (auto ensured = bytes_.ensure(position_ + count); !ensured) {
      error_ = std::move(ensured).error();
      return false;
    }
    return true;
  }

  /// Records an error at byte `at`, unless there is one already.
  void refuse(ErrorCode code, std::uint64_t at, const Field& field, std::string_view found) {
    if (!ok()) return;
    std::string message(file_);
    message.append(": ").append(field.what);
    if (field.index) {
      message.append(" (").append(std::to_string(*field.index));
      if (field.name) message.append(", ").append(printable(characters(*field.name)));
      message.append(")");
    }
    message.append(" at byte ").append(std::to_string(at)).append(": ").append(found);
    error_ = Error{code, std::move(message), at};
  }

 private:
  HeaderBytes& bytes_;
  std::string_view file_;
  std::uint64_t position_ = 0;  // <= file size and <= largest_header, always
  std::optional<Error> error_;
};

}  // namespace quantlinear::gguf
