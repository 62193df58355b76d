// What a backend is: the concept that QuantLinear<B> is generic over.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quantlinear/error.hpp"
#include "quantlinear/precision.hpp"
#include "quantlinear/quant_bytes.hpp"
#include "quantlinear/quant_type.hpp"
#include "quantlinear/report.hpp"

namespace quantlinear {

/// One weight matrix of a layer: `rows` rows of in_features weights in GGUF blocks.
struct QuantPart {
  GgufQuantType kind{};
  QuantBytes bytes;  ///< exactly matrix_bytes(kind, rows, in_features) bytes
  std::uint64_t rows = 0;
  std::vector<float> bias = {};  ///< empty, or `rows` values added to this part's outputs
};

/// Where the weights of a layer are kept.
enum class StoreLayout : std::uint8_t {
  as_in_file,   ///< used where QuantBytes has them; nothing is copied
  interleaved,  ///< a copy of the store's own, permuted for the kernels, in place of the QuantBytes, which it lets go
};

/// Choices for one layer.
struct LoadOptions {
  std::optional<Precision> precision = {};  ///< the backend's default if empty
  /// A wish: parts that a backend has no kernels for in that layout stay as in the file, and explain() says why. The
  /// results are the same bits. Loading then takes the time to read all weights once.
  StoreLayout layout = StoreLayout::as_in_file;
};

/// A backend is a cheap, copyable, thread-safe handle of a device. Shapes: input [m, in_features],
/// output [m, out_features], row-major f32.
///
///   Buffer      owning, move-only f32 memory of the device
///   Input       read-only strided view of activations, made from a `const Buffer&` (host backends:
///               also from spans and vectors); Output likewise, writable
///   Context     accumulates work, done in the order in which it was appended; `flush()` returns when
///               all of it is done. A CPU runs it inline. One thread at a time per context; any number
///               of contexts. Buffers and stores that the work uses must live until the flush.
///   QuantStore  a weight of one or several parts, still quantised, in the backend's memory; immutable
///               and usable from many threads. `parts()`: kind, rows and bias of each, and its bytes where the
///               store uses them in place, else none; `export_part(index, target)`: the bytes of a part as GGUF
///               has them, into a target of exactly their size; `in_features()`, `out_features()`.
///
///   load_quant(part, in_features, options)         one matrix
///   load_quant_fused(parts, in_features, options)  several over the same input: part order is column order
///   gemm_quant(ctx, input, store, out, m)          appends out = input * dequant(W)^T + bias; errors are
///                                                  returned before anything is written
///   get_rows(ctx, store, row_ids, out)             appends out[i] = dequant(W[row_ids[i]]) (no bias),
///                                                  out [row_ids.size(), in_features]; row_ids is copied
///   explain(store, m)                              empty for a store that was moved from, or if there is no memory for
///   it memory_plan(parts, in_features, m, options), ledger() allocate(count)                                zeroed
///   floats upload(span, buffer)                           fills the first floats of the buffer at once download(ctx,
///   buffer, span)                    flushes ctx, then reads the first floats of the buffer
///
/// No call throws. Constructors may throw std::bad_alloc, which make_backend (any_backend.hpp) returns as an error.
template <class B>
concept Backend =
    std::copyable<B> &&
    requires(const B backend, typename B::Context& ctx, const typename B::Input input, const typename B::Output out,
             const typename B::QuantStore& store, typename B::Buffer& buffer, const typename B::Buffer& const_buffer,
             const QuantPart& part, std::span<const QuantPart> parts, std::span<const std::uint64_t> row_ids,
             std::uint64_t count, const LoadOptions& options, std::span<const float> source, std::span<float> target,
             std::size_t index, std::span<std::byte> bytes) {
      requires std::movable<typename B::Buffer> && std::movable<typename B::Context> &&
                   std::movable<typename B::QuantStore>;
      requires std::constructible_from<typename B::Input, const typename B::Buffer&, std::uint64_t, std::uint64_t>;
      requires std::constructible_from<typename B::Output, typename B::Buffer&, std::uint64_t, std::uint64_t>;
      { backend.name() } -> std::convertible_to<std::string_view>;
      { backend.new_context() } -> std::same_as<Result<typename B::Context>>;
      { ctx.flush() } -> std::same_as<Status>;
      { backend.allocate(count) } -> std::same_as<Result<typename B::Buffer>>;
      { backend.upload(source, buffer) } -> std::same_as<Status>;
      { backend.download(ctx, const_buffer, target) } -> std::same_as<Status>;
      { backend.load_quant(part, count, options) } -> std::same_as<Result<typename B::QuantStore>>;
      { backend.load_quant_fused(parts, count, options) } -> std::same_as<Result<typename B::QuantStore>>;
      { backend.gemm_quant(ctx, input, store, out, count) } -> std::same_as<Status>;
      { backend.get_rows(ctx, store, row_ids, out) } -> std::same_as<Status>;
      { backend.explain(store, count) } -> std::same_as<Explanation>;
      { backend.memory_plan(parts, count, count, options) } -> std::same_as<Result<MemoryUse>>;
      { backend.ledger() } -> std::same_as<MemoryUse>;
      { store.in_features() } -> std::same_as<std::uint64_t>;
      { store.out_features() } -> std::same_as<std::uint64_t>;
      { store.parts() } -> std::same_as<std::span<const QuantPart>>;
      { store.export_part(index, bytes) } -> std::same_as<Status>;
    };

}  // namespace quantlinear
