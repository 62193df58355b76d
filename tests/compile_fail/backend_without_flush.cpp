// A type whose contexts cannot be flushed is no backend, and no layer is made over it.
#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/linear.hpp"

struct Almost : quantlinear::CpuBackend {
  struct Context {
#ifndef QUANTLINEAR_MUST_NOT_COMPILE
    quantlinear::Status flush() { return {}; }
#endif
  };
  quantlinear::Result<Context> new_context() const { return Context{}; }
  quantlinear::Status download(Context&, const Buffer&, std::span<float>) const { return {}; }
  quantlinear::Status gemm_quant(Context&, const Input&, const QuantStore&, const Output&, std::uint64_t) const {
    return {};
  }
  quantlinear::Status get_rows(Context&, const QuantStore&, std::span<const std::uint64_t>, const Output&) const {
    return {};
  }
};

std::uint64_t rows(const quantlinear::QuantLinear<Almost>& layer) { return layer.out_features(); }
