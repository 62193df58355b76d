#include "core/checks.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <string>

namespace quantlinear::detail {
namespace {

constexpr std::uint64_t kMaxSize = std::numeric_limits<std::size_t>::max() / 8;

std::string text(std::uint64_t value) { return std::to_string(value); }

/// Floats that a view of m rows of `columns` with `stride` spans; empty on overflow.
std::optional<std::uint64_t> span_of(std::uint64_t m, std::uint64_t stride, std::uint64_t columns) {
  std::uint64_t size = 0;
  if (__builtin_mul_overflow(m - 1, stride, &size) || __builtin_add_overflow(size, columns, &size) || size > kMaxSize) {
    return std::nullopt;
  }
  return size;
}

/// Checks one view and fills in a dense stride. `needed` is set to the floats it spans.
template <class View>
Status check_view(View& view, const char* name, std::uint64_t m, std::uint64_t columns, std::uint64_t& needed) {
  if (view.row_stride == 0) view.row_stride = columns;
  const auto fail_here = [&](const std::string& why) {
    return fail(ErrorCode::invalid_argument, std::string(name) + ": " + why);
  };
  if (view.row_stride < columns) {
    return fail_here("row stride " + text(view.row_stride) + " is less than the row, expected at least " +
                     text(columns));
  }
  const std::optional<std::uint64_t> size = span_of(m, view.row_stride, columns);
  if (!size) {
    return fail_here(text(m) + " rows with stride " + text(view.row_stride) + " overflow the address space");
  }
  needed = columns == 0 ? 0 : *size;
  if (view.size < needed) {
    return fail_here("holds " + text(view.size) + " floats, expected at least " + text(needed) + " for " + text(m) +
                     " rows of " + text(columns) + " with stride " + text(view.row_stride));
  }
  if (view.data == nullptr && needed != 0) return fail_here("is null, expected " + text(needed) + " floats");
  if (columns == 0) view.row_stride = 0;  // rows of nothing are all in the same place, which may be null
  return {};
}

}  // namespace

Result<std::uint64_t> check_parts(std::span<const QuantPart> parts, std::uint64_t in_features) {
  if (parts.empty()) return fail(ErrorCode::invalid_argument, "parts: the list is empty, expected at least one");
  std::uint64_t rows = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const QuantPart& part = parts[i];
    const std::string where = parts.size() == 1 ? "" : "part " + text(i) + ": ";
    if (quant_type_info(part.kind) == nullptr) {
      return fail(ErrorCode::invalid_argument,
                  where + "kind " + text(static_cast<std::uint32_t>(part.kind)) + " is no GGUF weight type");
    }
    const Result<std::uint64_t> bytes = matrix_bytes(part.kind, part.rows, in_features);
    if (!bytes) return fail(bytes.error().code, where + bytes.error().message);
    if (part.bytes.size() != *bytes) {
      return fail(ErrorCode::invalid_argument, where + "bytes: found " + text(part.bytes.size()) + ", expected " +
                                                   text(*bytes) + " for " + std::string(to_string(part.kind)) + " " +
                                                   text(part.rows) + " x " + text(in_features) +
                                                   " (out_features x in_features)");
    }
    if (!part.bias.empty() && part.bias.size() != part.rows) {
      return fail(ErrorCode::invalid_argument,
                  where + "bias: found " + text(part.bias.size()) + " values, expected none or " + text(part.rows));
    }
    if (__builtin_add_overflow(rows, part.rows, &rows) || rows > kMaxSize) {
      return fail(ErrorCode::invalid_argument, where + "the sum of rows overflows");
    }
  }
  return rows;
}

Result<CheckedViews> check_views(const HostInput& input, const HostOutput& out, std::uint64_t m,
                                 std::uint64_t in_features, std::uint64_t out_features) {
  CheckedViews views{input, out};
  if (m == 0) return views;
  std::uint64_t read = 0, written = 0;
  if (Status s = check_view(views.input, "input", m, in_features, read); !s) return std::unexpected(s.error());
  if (Status s = check_view(views.out, "out", m, out_features, written); !s) return std::unexpected(s.error());
  const auto first = [](const float* p) { return reinterpret_cast<std::uintptr_t>(p); };
  if (read != 0 && written != 0 && first(views.input.data) < first(views.out.data + written) &&
      first(views.out.data) < first(views.input.data + read)) {
    return fail(ErrorCode::invalid_argument, "out: overlaps input, expected separate memory");
  }
  return views;
}

Result<HostOutput> check_rows(std::span<const std::uint64_t> row_ids, const HostOutput& out, std::uint64_t rows,
                              std::uint64_t in_features) {
  HostOutput view = out;
  if (row_ids.empty()) return view;
  for (std::size_t i = 0; i < row_ids.size(); ++i) {
    if (row_ids[i] >= rows) {
      return fail(ErrorCode::invalid_argument,
                  "row_ids[" + text(i) + "]: found " + text(row_ids[i]) + ", expected less than " + text(rows));
    }
  }
  std::uint64_t written = 0;
  if (Status s = check_view(view, "out", row_ids.size(), in_features, written); !s) return std::unexpected(s.error());
  return view;
}

Status check_export(std::span<const QuantPart> parts, std::uint64_t in_features, std::size_t index,
                    std::size_t target_bytes) try {
  if (index >= parts.size()) {
    return fail(ErrorCode::invalid_argument,
                "index: found part " + text(index) + ", expected less than " + text(parts.size()));
  }
  const Result<std::uint64_t> bytes = matrix_bytes(parts[index].kind, parts[index].rows, in_features);
  if (!bytes) return std::unexpected(bytes.error());
  if (target_bytes != *bytes) {
    return fail(ErrorCode::invalid_argument,
                "target: found " + text(target_bytes) + " bytes, expected " + text(*bytes) + " as of the part");
  }
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("export: out of memory");
}

Status copy_to_buffer(std::span<const float> source, HostBuffer& target) try {
  if (source.size() > target.size()) {
    return fail(ErrorCode::invalid_argument, "upload: the buffer holds " + text(target.size()) +
                                                 " floats, expected at least " + text(source.size()));
  }
  std::ranges::copy(source, target.span().begin());
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("upload: out of memory");
}

Status copy_from_buffer(const HostBuffer& source, std::span<float> target) try {
  if (target.size() > source.size()) {
    return fail(ErrorCode::invalid_argument, "download: the buffer holds " + text(source.size()) +
                                                 " floats, expected at least " + text(target.size()));
  }
  std::ranges::copy(source.span().first(target.size()), target.begin());
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("download: out of memory");
}

}  // namespace quantlinear::detail
