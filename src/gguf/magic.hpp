// The first bytes of a file: is it GGUF, in a version and byte order that we read; and if not, what
// has the user given us?
#pragma once

#include <cstdint>
#include <string_view>

#include "gguf/cursor.hpp"

namespace quantlinear::gguf {

/// Takes magic and version (8 bytes) and returns the version, 2 or 3. Refuses through the cursor
/// anything else, and files too short for a header of 24 bytes.
[[nodiscard]] std::uint32_t take_magic_and_version(Cursor& cursor);

/// "a ZIP archive, ...": what a file looks like that begins with `bytes`; empty if nothing known.
[[nodiscard]] std::string_view looks_like(std::string_view bytes) noexcept;

}  // namespace quantlinear::gguf
