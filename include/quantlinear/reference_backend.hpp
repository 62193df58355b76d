// The oracle: weights dequantised to f32 at load, f32 activations, f64 accumulation, one thread.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "quantlinear/backend.hpp"
#include "quantlinear/host_buffer.hpp"

namespace quantlinear {

/// Slow and simple on purpose. Each output is one f64 sum in the order of k, plus the bias in f64,
/// rounded to f32 once. Takes 4 bytes per weight besides the blocks, which verify() decodes again.
/// Precision is always f32.
class ReferenceBackend {
 public:
  using Buffer = HostBuffer;
  using Input = HostInputView;
  using Output = HostOutputView;
  class Context;
  class QuantStore;

  ReferenceBackend();
  // Copies only: a moved-from backend would be a handle to nothing.
  ReferenceBackend(const ReferenceBackend&) = default;
  ReferenceBackend& operator=(const ReferenceBackend&) = default;
  ~ReferenceBackend() = default;

  [[nodiscard]] std::string_view name() const noexcept { return "reference"; }
  [[nodiscard]] Result<Context> new_context() const;
  [[nodiscard]] Result<HostBuffer> allocate(std::uint64_t count) const { return HostBuffer::allocate(count); }
  [[nodiscard]] Status upload(std::span<const float> source, HostBuffer& target) const;
  [[nodiscard]] Status download(Context& ctx, const HostBuffer& source, std::span<float> target) const;
  [[nodiscard]] Result<QuantStore> load_quant(const QuantPart& part, std::uint64_t in_features,
                                              const LoadOptions& options = {}) const;
  [[nodiscard]] Result<QuantStore> load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                    const LoadOptions& options = {}) const;
  [[nodiscard]] Status gemm_quant(Context& ctx, const HostInput& input, const QuantStore& store, const HostOutput& out,
                                  std::uint64_t m) const;
  [[nodiscard]] Status get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                                const HostOutput& out) const;
  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const;
  [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                              std::uint64_t m, const LoadOptions& options = {}) const;
  [[nodiscard]] MemoryUse ledger() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

class ReferenceBackend::Context {
 public:
  [[nodiscard]] Status flush() { return {}; }
};

/// Once moved from it has no rows, no columns and no parts.
class ReferenceBackend::QuantStore {
 public:
  QuantStore(QuantStore&&) noexcept;
  QuantStore& operator=(QuantStore&&) noexcept;
  ~QuantStore();
  [[nodiscard]] std::uint64_t in_features() const noexcept;
  [[nodiscard]] std::uint64_t out_features() const noexcept;
  [[nodiscard]] std::span<const QuantPart> parts() const noexcept;
  /// Writes the blocks of part `index` as they are in the file. invalid_argument if there is no such part or target is
  /// not of exactly their size.
  [[nodiscard]] Status export_part(std::size_t index, std::span<std::byte> target) const;

 private:
  friend class ReferenceBackend;
  struct Impl;
  explicit QuantStore(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

static_assert(Backend<ReferenceBackend>);

}  // namespace quantlinear
