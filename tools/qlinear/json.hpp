// JSON output.
#pragma once

#include <nlohmann/json.hpp>

namespace qlinear {

using Json = nlohmann::ordered_json;

/// Prints one JSON document. Names in files are bytes; what is not UTF-8 becomes U+FFFD here.
void print_json(const Json& document);

}  // namespace qlinear
