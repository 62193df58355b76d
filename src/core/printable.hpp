// Bytes from a file or a caller, in error messages: one line of UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quantlinear::detail {

/// `bytes` made fit for a message: control characters, quotes and invalid UTF-8 become \xNN, and at
/// most `limit` bytes are shown, followed by "..." if there are more.
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t limit = 96);

}  // namespace quantlinear::detail
