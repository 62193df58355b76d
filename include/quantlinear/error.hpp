// Errors are values: every fallible call of QuantLinear returns Result<T> (or Status) and never
// throws, aborts or asserts on input from outside.
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace quantlinear {

enum class ErrorCode : std::uint8_t {
  invalid_argument,  ///< a size, shape, pointer or option given by the caller does not fit
  malformed_file,    ///< the bytes of a file break the GGUF format
  io,                ///< the operating system refused to open, read, map or write
  not_found,         ///< a tensor, metadata key or type of that name does not exist
  unsupported,       ///< well-formed, but this build, backend or machine cannot do it
  out_of_memory,     ///< an allocation failed; the message names its size where it is known
  data_changed,      ///< a mapped file changed its size or modification time after it was opened
  device,            ///< a device (GPU, driver) reported a failure
};

/// Name of the code as spelled in the enumeration, e.g. "malformed_file". Static storage.
[[nodiscard]] const char* to_string(ErrorCode code) noexcept;

/// What went wrong. `message` names what and where (tensor, argument, file), what was found and
/// what was expected; it is one line, UTF-8, without a trailing full stop or newline.
struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string message;
  /// For errors found in a file: offset in bytes from the start of that file. The message repeats it.
  std::optional<std::uint64_t> byte_offset;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// Shorthand for returning an error: `return fail(ErrorCode::io, "...")`.
[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message,
                                                 std::optional<std::uint64_t> byte_offset = {}) {
  return std::unexpected(Error{code, std::move(message), byte_offset});
}

namespace detail {
/// A piece of a message: text, or a number.
struct MessagePart {
  MessagePart(std::string_view piece) noexcept : text(piece) {}
  MessagePart(const char* piece) noexcept : text(piece) {}
  MessagePart(const std::string& piece) noexcept : text(piece) {}
  MessagePart(std::unsigned_integral auto value) noexcept : number(value) {}
  std::string_view text;
  std::optional<std::uint64_t> number;
};
[[nodiscard]] std::unexpected<Error> joined_out_of_memory(std::initializer_list<MessagePart> parts) noexcept;
}  // namespace detail

/// An out_of_memory error whose message is the parts (text and unsigned integers) one after the other, or "out of
/// memory" if there is no memory for that either. Does not throw:
/// `catch (const std::bad_alloc&) { return out_of_memory("bias: cannot allocate ", count, " floats"); }`.
template <class... Parts>
[[nodiscard]] std::unexpected<Error> out_of_memory(const Parts&... parts) noexcept {
  return detail::joined_out_of_memory({detail::MessagePart(parts)...});
}

}  // namespace quantlinear
