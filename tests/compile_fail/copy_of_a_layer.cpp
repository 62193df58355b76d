// A layer is not copied by accident: it moves, or is shared by reference.
#include <utility>

#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"

using Layer = quantlinear::QuantLinear<quantlinear::CpuBackend>;

Layer take(Layer& layer) {
#ifdef QUANTLINEAR_MUST_NOT_COMPILE
  return Layer(layer);
#else
  return Layer(std::move(layer));
#endif
}
