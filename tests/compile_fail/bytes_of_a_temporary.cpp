// Weights are not borrowed from a vector that is gone at the end of the line.
#include <vector>

#include "quantlinear/quant_bytes.hpp"

quantlinear::QuantBytes zeros() {
#ifdef QUANTLINEAR_MUST_NOT_COMPILE
  return quantlinear::QuantBytes::borrow(std::vector<std::byte>(144));
#else
  return quantlinear::QuantBytes::own(std::vector<std::byte>(144));
#endif
}
