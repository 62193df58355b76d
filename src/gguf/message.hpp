// The words of this reader's errors: one line of UTF-8, whatever bytes a file or a path holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <new>
#include <string>
#include <string_view>

#include "core/printable.hpp"
#include "quantlinear/error.hpp"

namespace quantlinear::gguf {

using detail::printable;

/// `printable` of a path, in full.
[[nodiscard]] std::string printable_path(const std::filesystem::path& path);

/// "DOING: what the system calls errno `number`", e.g. "cannot open: Permission denied".
[[nodiscard]] std::string system_message(std::string_view doing, int number);

/// ", did you mean A, B, C": up to three of `count` names that share the longest beginning and end
/// with `wanted`; empty if none shares anything. One comparison per name.
[[nodiscard]] std::string nearest_names(std::string_view wanted, std::size_t count,
                                        const std::function<std::string_view(std::size_t)>& name_of);

/// Runs `work` (which returns a Result) at an edge of the API and turns what the standard library
/// throws into errors. `what` names the file or operation.
template <class Work>
[[nodiscard]] auto guarded(std::string_view what, Work&& work) noexcept -> decltype(work()) {
  try {
    try {
      return work();
    } catch (const std::bad_alloc&) {
      return out_of_memory(what, ": out of memory");
    } catch (const std::exception& e) {
      return fail(ErrorCode::io, std::string(what) + ": " + printable(e.what()));
    }
  } catch (...) {  // not even that message fits
    return out_of_memory(what, ": out of memory");
  }
}

}  // namespace quantlinear::gguf
