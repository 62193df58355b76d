// The result of a fallible call is not dropped without a word. Compiled with -Werror=unused-result.
#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"

using quantlinear::CpuBackend;

void run(const quantlinear::QuantLinear<CpuBackend>& layer, CpuBackend::Context& ctx, std::vector<float>& x,
         std::vector<float>& y) {
#ifdef QUANTLINEAR_MUST_NOT_COMPILE
  layer.forward(ctx, x, y, 1);
#else
  (void)layer.forward(ctx, x, y, 1);
#endif
}
