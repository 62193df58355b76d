// AnyBackend wraps backends and nothing else.
#include "quantlinear/any_backend.hpp"

struct NoBackend {};

#ifdef QUANTLINEAR_MUST_NOT_COMPILE
quantlinear::AnyBackend wrap() { return quantlinear::AnyBackend(NoBackend{}); }
#else
quantlinear::AnyBackend wrap() { return quantlinear::AnyBackend(quantlinear::CpuBackend{}); }
#endif
