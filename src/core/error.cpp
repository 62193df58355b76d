#include "quantlinear/error.hpp"

namespace quantlinear {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::malformed_file:
      return "malformed_file";
    case ErrorCode::io:
      return "io";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::data_changed:
      return "data_changed";
    case ErrorCode::device:
      return "device";
  }
  return "unknown";
}

}  // namespace quantlinear
