// JSON output.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace qlinear {

using Json = nlohmann::ordered_json;

/// Prints one JSON document. Names in files are bytes; what is not UTF-8 becomes U+FFFD here.
inline void print_json(const Json& document) {
  fmt::print("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace qlinear
