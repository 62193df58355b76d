// Views of row-major f32 matrices in host memory.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace quantlinear {

/// Read-only view of activations: row i, `in_features` floats long, starts at data + i * row_stride.
/// row_stride 0 means "dense": the layer takes its own in_features. `size` is the number of floats
/// that may be read from `data`; the layer checks it. Non-owning: the memory must outlive the call
/// (for a backend that defers work: the flush of the context).
struct HostInput {
  const float* data = nullptr;
  std::size_t size = 0;
  std::size_t row_stride = 0;

  constexpr HostInput() = default;
  constexpr HostInput(std::span<const float> values,
                      std::size_t stride = 0) noexcept  // NOLINT: a view, implicit by design
      : data(values.data()), size(values.size()), row_stride(stride) {}
  HostInput(const std::vector<float>& values, std::size_t stride = 0) noexcept  // NOLINT
      : data(values.data()), size(values.size()), row_stride(stride) {}
  HostInput(const std::vector<float>&&, std::size_t = 0) = delete;  // the view would dangle
};

/// Writable view of results, as HostInput. A column range of a wider matrix is the span that starts
/// at its first column, with the width of the whole matrix as row_stride. Floats between the end of a
/// row and the start of the next are not touched. Must not overlap the input.
struct HostOutput {
  float* data = nullptr;
  std::size_t size = 0;
  std::size_t row_stride = 0;

  constexpr HostOutput() = default;
  constexpr HostOutput(std::span<float> values, std::size_t stride = 0) noexcept  // NOLINT
      : data(values.data()), size(values.size()), row_stride(stride) {}
  HostOutput(std::vector<float>& values, std::size_t stride = 0) noexcept  // NOLINT
      : data(values.data()), size(values.size()), row_stride(stride) {}
};

}  // namespace quantlinear
