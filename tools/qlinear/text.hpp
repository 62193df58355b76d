// Bytes from files and numbers, as text that is safe and pleasant on a terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qlinear {

/// `bytes` with everything that could disturb a terminal or hide itself (control characters, bytes
/// that are not UTF-8, direction marks) written as \n, \x1b or \u202e. The rest is left alone.
[[nodiscard]] std::string printable(std::string_view bytes);

/// printable() between double quotes, with quotes and backslashes escaped, so that it reads back
/// unambiguously. Cut after about `most` characters, with the length in bytes behind the cut.
[[nodiscard]] std::string quoted(std::string_view bytes, std::size_t most);

/// Columns that a printable text takes on a terminal (wide East Asian characters take two).
[[nodiscard]] std::size_t display_width(std::string_view text);

/// 253113024 as "253.1 MB" (powers of 1000, as in GB/s).
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

/// 268435456 as "268.4 M": counts of weights.
[[nodiscard]] std::string human_count(std::uint64_t count);

/// 253113024 as "253,113,024".
[[nodiscard]] std::string grouped(std::uint64_t value);

/// Milliseconds with three significant digits: "0.0123 ms", "1.23 ms", "123 ms".
[[nodiscard]] std::string milliseconds(double seconds);

/// `value` with about three significant digits and no exponent: "0.0123", "12.3", "1234".
[[nodiscard]] std::string three_digits(double value);

/// An error measure: "3.1e-08", "0" if it is exactly that.
[[nodiscard]] std::string scientific(double value);

/// 0.874 as "87 %".
[[nodiscard]] std::string percent(double share);

/// "1 tensor", "236 tensors".
[[nodiscard]] std::string counted(std::uint64_t count, std::string_view singular, std::string_view plural);

}  // namespace qlinear
