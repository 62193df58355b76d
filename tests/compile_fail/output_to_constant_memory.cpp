// Results do not go where the caller may only read.
#include <span>

#include "quantlinear/matrix.hpp"

quantlinear::HostOutput view(std::span<float> writable, [[maybe_unused]] std::span<const float> constant) {
#ifdef QUANTLINEAR_MUST_NOT_COMPILE
  return quantlinear::HostOutput(constant);
#else
  return quantlinear::HostOutput(writable);
#endif
}
