// The checks that every backend makes before it touches memory, with the same words.
#pragma once

#include <cstdint>
#include <span>

#include "quantlinear/backend.hpp"
#include "quantlinear/host_buffer.hpp"
#include "quantlinear/matrix.hpp"

namespace quantlinear::detail {

/// Sizes of every part against its bytes and bias; the list is not empty; the sum of rows fits.
/// Returns the sum of rows (out_features).
[[nodiscard]] Result<std::uint64_t> check_parts(std::span<const QuantPart> parts, std::uint64_t in_features);

/// Row strides and sizes of both views for m rows, without overflow; returns the views with their
/// strides filled in. m == 0 accepts anything. Refuses overlapping input and output.
struct CheckedViews {
  HostInput input;
  HostOutput out;
};
[[nodiscard]] Result<CheckedViews> check_views(const HostInput& input, const HostOutput& out, std::uint64_t m,
                                               std::uint64_t in_features, std::uint64_t out_features);

/// Row numbers against the number of rows, and the output view [row_ids.size(), in_features].
[[nodiscard]] Result<HostOutput> check_rows(std::span<const std::uint64_t> row_ids, const HostOutput& out,
                                            std::uint64_t rows, std::uint64_t in_features);

/// Part number and size of an export.
[[nodiscard]] Status check_export(std::span<const QuantPart> parts, std::uint64_t in_features, std::size_t index,
                                  std::size_t target_bytes);

/// upload and download of backends whose buffers are host memory.
[[nodiscard]] Status copy_to_buffer(std::span<const float> source, HostBuffer& target);
[[nodiscard]] Status copy_from_buffer(const HostBuffer& source, std::span<float> target);

}  // namespace quantlinear::detail
