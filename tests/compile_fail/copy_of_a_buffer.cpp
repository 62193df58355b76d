// Device memory is not copied by accident: a HostBuffer moves.
#include <utility>

#include "quantlinear/host_buffer.hpp"

quantlinear::HostBuffer take(quantlinear::HostBuffer& buffer) {
#ifdef QUANTLINEAR_MUST_NOT_COMPILE
  return quantlinear::HostBuffer(buffer);
#else
  return quantlinear::HostBuffer(std::move(buffer));
#endif
}
