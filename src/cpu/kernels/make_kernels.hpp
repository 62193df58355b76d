// One row of the dispatch table.
#pragma once

#include "cpu/kernel_table.hpp"
#include "formats/format.hpp"

namespace quantlinear::cpu {
namespace {

template <class Isa, class F>
constexpr FormatKernels make_kernels() {
  FormatKernels kernels = {F::kType,
                           Isa::template dequantize<F>,
                           {Isa::template product<F, Precision::f32>(), Isa::template product<F, Precision::a16>(),
                            Isa::template product<F, Precision::a8>()},
                           {},
                           {}};
  if constexpr (requires { Isa::template interleaved<F>(); }) {
    kernels.interleaved = Isa::template interleaved<F>();
    kernels.block = {F::kBlockBytes, F::kScaleAt};
  }
  return kernels;
}

}  // namespace
}  // namespace quantlinear::cpu
