// The layer: out = input * dequant(W)^T (+ bias), weights still quantised.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "quantlinear/backend.hpp"
#include "quantlinear/gguf.hpp"
#include "quantlinear/gguf_parts.hpp"
#include "quantlinear/verify.hpp"

namespace quantlinear {

/// P is what backend B calls prepared activations. Backends need not have any.
template <class P, class B>
concept PreparedInputOf = requires { requires std::same_as<P, typename B::PreparedInput>; };

/// Anything that maps [m, in_features] to [m, out_features] on backend B.
template <Backend B>
class Linear {
 public:
  virtual ~Linear() = default;
  [[nodiscard]] virtual std::uint64_t in_features() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t out_features() const noexcept = 0;
  /// Appends the work for m rows onto `ctx`; results are in `out` after ctx.flush() (a CPU runs it
  /// inline). m == 0 does nothing and succeeds. On an error nothing was appended or written.
  [[nodiscard]] virtual Status forward(typename B::Context& ctx, typename B::Input input, typename B::Output out,
                                       std::uint64_t m) const = 0;

 protected:
  Linear() = default;
  Linear(const Linear&) = default;
  Linear(Linear&&) = default;
  Linear& operator=(const Linear&) = default;
  Linear& operator=(Linear&&) = default;
};

/// A linear layer over one or several quantised matrices. Movable, immutable after construction,
/// usable from many threads at once, each with its own Context. Keeps its backend and, unless bytes
/// were borrowed, its weights alive.
template <Backend B>
class QuantLinear final : public Linear<B> {
 public:
  /// From raw GGUF block bytes as they stand on disk, row-major [out_features, in_features].
  /// `bias` is empty or has out_features values (copied).
  [[nodiscard]] static Result<QuantLinear> from_gguf_bytes(const B& backend, GgufQuantType kind, QuantBytes bytes,
                                                           std::uint64_t out_features, std::uint64_t in_features,
                                                           const LoadOptions& options = {},
                                                           std::span<const float> bias = {}) {
    QuantPart part{kind, std::move(bytes), out_features};
    try {
      part.bias.assign(bias.begin(), bias.end());
    } catch (const std::bad_alloc&) {
      return out_of_memory("bias: cannot allocate ", bias.size(), " floats");
    }
    return wrap(backend, backend.load_quant(part, in_features, options));
  }

  /// Several matrices over the same input, side by side in the output: part order is column order.
  /// Kinds may differ; nothing is concatenated; the activations are prepared once.
  [[nodiscard]] static Result<QuantLinear> from_gguf_fused(const B& backend, std::span<const QuantPart> parts,
                                                           std::uint64_t in_features, const LoadOptions& options = {}) {
    return wrap(backend, backend.load_quant_fused(parts, in_features, options));
  }

  /// From a store that the backend's own ingestion made. The dimensions are checked against it.
  [[nodiscard]] static Result<QuantLinear> from_store(const B& backend, typename B::QuantStore store,
                                                      std::uint64_t out_features, std::uint64_t in_features) try {
    if (store.out_features() != out_features || store.in_features() != in_features) {
      return fail(ErrorCode::invalid_argument, "from_store: the store is " + std::to_string(store.out_features()) +
                                                   " x " + std::to_string(store.in_features()) +
                                                   " (out_features x in_features), expected " +
                                                   std::to_string(out_features) + " x " + std::to_string(in_features));
    }
    return QuantLinear(backend, std::move(store));
  } catch (const std::bad_alloc&) {
    return out_of_memory("from_store: out of memory");
  }

  /// From an open file, by tensor name; the layer shares the file's mapping, so `file` may be closed.
  [[nodiscard]] static Result<QuantLinear> from_gguf(const B& backend, const GgufFile& file, std::string_view tensor,
                                                     const LoadOptions& options = {}) {
    return from_gguf(backend, file, std::span<const std::string_view>(&tensor, 1), options);
  }
  /// Several tensors are one fused layer, e.g. {"blk.0.attn_q.weight", "blk.0.attn_k.weight", ...}.
  /// A tensor "X.weight" brings its bias along if the file holds a float tensor "X.bias".
  [[nodiscard]] static Result<QuantLinear> from_gguf(const B& backend, const GgufFile& file,
                                                     std::span<const std::string_view> tensors,
                                                     const LoadOptions& options = {}) {
    Result<GgufParts> parts = gguf_parts(file, tensors);
    if (!parts) return std::unexpected(std::move(parts.error()));
    return from_gguf_fused(backend, parts->parts, parts->in_features, options);
  }
  [[nodiscard]] static Result<QuantLinear> from_gguf(const B& backend, const GgufFile& file,
                                                     std::initializer_list<std::string_view> tensors,
                                                     const LoadOptions& options = {}) {
    return from_gguf(backend, file, std::span<const std::string_view>(tensors.begin(), tensors.size()), options);
  }

  [[nodiscard]] std::uint64_t in_features() const noexcept override { return store_.in_features(); }
  [[nodiscard]] std::uint64_t out_features() const noexcept override { return store_.out_features(); }
  [[nodiscard]] const typename B::QuantStore& store() const noexcept { return store_; }
  [[nodiscard]] const B& backend() const noexcept { return backend_; }

  [[nodiscard]] Status forward(typename B::Context& ctx, typename B::Input input, typename B::Output out,
                               std::uint64_t m) const override {
    return backend_.gemm_quant(ctx, input, store_, out, m);
  }

  /// The same from activations that backend().prepare() has quantised for this layer's store() and others: the same
  /// bits as from the raw rows. out [prepared.rows(), out_features]. Of backends that have PreparedInput.
  template <PreparedInputOf<B> P>
  [[nodiscard]] Status forward(typename B::Context& ctx, const P& prepared, typename B::Output out) const {
    return backend_.gemm_quant(ctx, prepared, store_, out);
  }

  /// Row look-up (embeddings, tied tables): out[i] = dequant(W[row_ids[i]]), f32, exact, without bias.
  /// out [row_ids.size(), in_features]. Row numbers count through the parts in order.
  [[nodiscard]] Status get_rows(typename B::Context& ctx, std::span<const std::uint64_t> row_ids,
                                typename B::Output out) const {
    return backend_.get_rows(ctx, store_, row_ids, out);
  }

  /// What will run for this m, and why.
  [[nodiscard]] Explanation explain(std::uint64_t m) const { return backend_.explain(store_, m); }

  /// Scans the blocks for broken scales and compares the kernels that would run, for several m, with
  /// f64 arithmetic on exactly dequantised weights. Reads every weight.
  [[nodiscard]] Result<VerifyReport> verify(const VerifyOptions& options = {}) const {
    return verify_layer(backend_, store_, options);
  }

  /// Copies where the backend's stores can be copied; those of the backends here cannot.
  QuantLinear(const QuantLinear&) = default;
  QuantLinear(QuantLinear&&) = default;
  /// The old store goes while the backend that made it is still there.
  QuantLinear& operator=(const QuantLinear& other)
    requires std::is_copy_assignable_v<typename B::QuantStore>
  {
    store_ = other.store_;
    backend_ = other.backend_;
    return *this;
  }
  QuantLinear& operator=(QuantLinear&& other) noexcept(std::is_nothrow_move_assignable_v<B> &&
                                                       std::is_nothrow_move_assignable_v<typename B::QuantStore>) {
    store_ = std::move(other.store_);
    backend_ = std::move(other.backend_);
    return *this;
  }

 private:
  QuantLinear(const B& backend, typename B::QuantStore store) : backend_(backend), store_(std::move(store)) {}

  static Result<QuantLinear> wrap(const B& backend, Result<typename B::QuantStore> store) {
    if (!store) return std::unexpected(std::move(store.error()));
    return QuantLinear(backend, std::move(*store));
  }

  B backend_;
  typename B::QuantStore store_;
};

}  // namespace quantlinear
