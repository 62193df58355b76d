#include "quantlinear/quant_bytes.hpp"

#include <new>
#include <string>

namespace quantlinear {

Result<QuantBytes> QuantBytes::copy(std::span<const std::byte> bytes) try {
  return own(std::vector<std::byte>(bytes.begin(), bytes.end()));
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::out_of_memory, "cannot allocate " + std::to_string(bytes.size()) + " bytes of weights");
}

QuantBytes QuantBytes::own(std::vector<std::byte> bytes) {
  auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  const std::span<const std::byte> view(*owner);
  return share(view, std::move(owner), false);
}

}  // namespace quantlinear
