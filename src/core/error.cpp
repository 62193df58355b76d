#include "quantlinear/error.hpp"

#include <new>

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

std::unexpected<Error> detail::joined_out_of_memory(std::initializer_list<MessagePart> parts) noexcept {
  try {
    std::string message;
    for (const MessagePart& part : parts) {
      if (part.number) {
        message += std::to_string(*part.number);
      } else {
        message += part.text;
      }
    }
    return fail(ErrorCode::out_of_memory, std::move(message));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory, "out of memory");  // strings this short keep their bytes themselves
  }
}

}  // namespace quantlinear
