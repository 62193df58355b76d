// The dispatch table: for every instruction set and weight format, the kernels as plain data.
// Tests and `explain` walk this table; nobody lists kernels by name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cpu/activations.hpp"
#include "cpu/interleaved_layout.hpp"
#include "quantlinear/quant_type.hpp"

namespace quantlinear::cpu {

/// Most activation rows of one kernel call: their results for 32 weight rows take 64 KiB. The backend
/// cuts larger m into pieces, which bounds the scratch memory and reads the weights once per piece.
inline constexpr std::size_t kMaxColumns = 512;

/// One call of a product kernel: rows [row_begin, row_end) of a matrix times all m rows of x.
struct ProductArgs {
  const std::uint8_t* weights;  ///< first block of row 0, any alignment
  std::size_t row_bytes;
  std::size_t row_begin;
  std::size_t row_end;  ///< no byte at or beyond row_end * row_bytes is read
  std::size_t in_features;
  Activations x;  ///< 1 .. kMaxColumns rows
  float* out;     ///< out[i * out_stride + row] for activation row i
  std::size_t out_stride;
  const float* bias;   ///< null, or one value per row of the matrix
  std::byte* scratch;  ///< 64-byte aligned, scratch_bytes(m, in_features) long, private to the call
  /// Of an interleaved matrix: how many of its rows are (interleaved_layout.hpp).
  std::size_t interleaved_rows = 0;
};

/// What a kernel will do for m rows, for `explain`.
struct KernelDescription {
  std::string_view kernel;
  std::string_view path;
  std::size_t tile_rows;
  std::size_t tile_columns;
};

struct ProductKernel {
  /// How the kernel wants m activation rows: its GEMM may take other sums with them than its GEMV. The same for all
  /// m >= kMaxColumns / 2, so that the pieces of a larger m agree.
  ActivationSpec (*activations)(std::size_t m);
  void (*run)(const ProductArgs&) noexcept;
  std::size_t (*scratch_bytes)(std::size_t m, std::size_t in_features);
  KernelDescription (*describe)(std::size_t m);
};

/// All kernels of one format for one instruction set. Kernels never allocate, lock or start threads.
struct FormatKernels {
  GgufQuantType kind;
  /// Decodes `blocks` consecutive blocks, bit-identical to quantlinear::dequantize.
  void (*dequantize)(const std::uint8_t* block, std::size_t blocks, float* out) noexcept;
  /// Indexed by Precision. Float formats have the f32 kernel in all three places.
  std::array<ProductKernel, 3> product;
  /// For interleaved weights in a8; interleaved.run is null where the set has none for the format.
  ProductKernel interleaved;
  InterleavedBlock block;
};

/// An instruction set of this build.
struct InstructionSet {
  std::string_view name;
  std::uint32_t features;  ///< CPU features it needs (cpu_features.hpp)
  PrepareRow prepare_row;
  std::span<const FormatKernels* const> formats;  ///< in the order of quant_types()

  [[nodiscard]] const FormatKernels* find(GgufQuantType kind) const noexcept {
    for (const FormatKernels* kernels : formats) {
      if (kernels->kind == kind) return kernels;
    }
    return nullptr;
  }
};

/// Every instruction set of this build, weakest first; whether this machine can run one is another
/// question (cpu_features.hpp).
[[nodiscard]] std::span<const InstructionSet> instruction_sets() noexcept;

/// Rows per work item are a multiple of this (the tallest panel of any kernel).
inline constexpr std::size_t kRowGranule = 32;

}  // namespace quantlinear::cpu
