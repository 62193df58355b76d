// AVX-512 with VNNI, and AMX for bytes (Sapphire Rapids and later): as avx512_vnni, but a GEMM of super-blocks
// multiplies in tile registers.
#pragma once

#include "cpu/kernels/x86/amx_tile.hpp"
#include "cpu/kernels/x86/avx512_isa.hpp"

namespace quantlinear::cpu {
namespace {

/// Small blocks have a scale every 32 k: sums would leave the tile registers as fast as they come
/// (docs/performance-log.md).
template <class F, Precision P>
struct AmxTiles {
  using Type = typename Avx512Tile<F, P>::Type;
};
template <class F, Precision P>
  requires(F::kFamily == Family::super_block)
struct AmxTiles<F, P> {
  using Type = AmxTile<F, P>;
};

using Isa = Avx512Isa<AmxTiles>;

}  // namespace
}  // namespace quantlinear::cpu
