// AVX-512 with VNNI (Ice Lake, Zen 4 and later).
#pragma once

#include "cpu/kernels/x86/avx512_isa.hpp"

namespace quantlinear::cpu {
namespace {

using Isa = Avx512Isa<Avx512Tile>;

}  // namespace
}  // namespace quantlinear::cpu
