// A third backend, outside the library: a "device" whose memory the host cannot see and whose contexts
// record work and run it on flush, as a GPU backend would. It computes with the reference arithmetic.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/checks.hpp"
#include "quantlinear/reference_backend.hpp"

namespace quantlinear::test {

class RecordingBackend {
 public:
  /// Device memory. It stays where it is when the buffer moves, so that recorded work still finds it.
  class Buffer {
   private:
    friend class RecordingBackend;
    explicit Buffer(HostBuffer memory) : memory_(std::make_unique<HostBuffer>(std::move(memory))) {}
    std::unique_ptr<HostBuffer> memory_;
  };

  /// A list of work that waits for its flush.
  class Context {
   public:
    [[nodiscard]] Status flush() {
      Status status;
      for (const Work& work : std::exchange(work_, {})) {
        if (Status s = work(); !s && status) status = s;
      }
      return status;
    }
    [[nodiscard]] std::size_t pending() const noexcept { return work_.size(); }

   private:
    friend class RecordingBackend;
    using Work = std::function<Status()>;
    Context() = default;
    std::vector<Work> work_;
  };

  class QuantStore {
   public:
    [[nodiscard]] std::uint64_t in_features() const noexcept { return store_->in_features(); }
    [[nodiscard]] std::uint64_t out_features() const noexcept { return store_->out_features(); }
    [[nodiscard]] std::span<const QuantPart> parts() const noexcept { return store_->parts(); }
    [[nodiscard]] Status export_part(std::size_t index, std::span<std::byte> target) const {
      return store_->export_part(index, target);
    }

   private:
    friend class RecordingBackend;
    explicit QuantStore(ReferenceBackend::QuantStore store)
        : store_(std::make_shared<const ReferenceBackend::QuantStore>(std::move(store))) {}
    std::shared_ptr<const ReferenceBackend::QuantStore> store_;
  };

  struct Input {
    const Buffer* buffer;
    std::uint64_t offset, row_stride;
    Input(const Buffer& b, std::uint64_t at = 0, std::uint64_t stride = 0) noexcept  // NOLINT: a view
        : buffer(&b), offset(at), row_stride(stride) {}
  };
  struct Output {
    Buffer* buffer;
    std::uint64_t offset, row_stride;
    Output(Buffer& b, std::uint64_t at = 0, std::uint64_t stride = 0) noexcept  // NOLINT: a view
        : buffer(&b), offset(at), row_stride(stride) {}
  };

  [[nodiscard]] std::string_view name() const noexcept { return "recording"; }
  [[nodiscard]] Result<Context> new_context() const { return Context{}; }
  [[nodiscard]] Result<Buffer> allocate(std::uint64_t count) const {
    Result<HostBuffer> memory = HostBuffer::allocate(count);
    if (!memory) return std::unexpected(std::move(memory.error()));
    return Buffer(std::move(*memory));
  }
  [[nodiscard]] Status upload(std::span<const float> source, Buffer& target) const {
    return detail::copy_to_buffer(source, *target.memory_);
  }
  /// Waits for the work of `ctx`, and of no other context.
  [[nodiscard]] Status download(Context& ctx, const Buffer& source, std::span<float> target) const {
    if (Status s = ctx.flush(); !s) return s;
    return detail::copy_from_buffer(*source.memory_, target);
  }

  [[nodiscard]] Result<QuantStore> load_quant(const QuantPart& part, std::uint64_t in_features,
                                              const LoadOptions& options = {}) const {
    return load_quant_fused({&part, 1}, in_features, options);
  }
  [[nodiscard]] Result<QuantStore> load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                    const LoadOptions& options = {}) const {
    auto store = arithmetic_.load_quant_fused(parts, in_features, options);
    if (!store) return std::unexpected(std::move(store.error()));
    return QuantStore(std::move(*store));
  }

  [[nodiscard]] Status gemm_quant(Context& ctx, const Input& input, const QuantStore& store, const Output& out,
                                  std::uint64_t m) const {
    const HostInputView x(std::as_const(*input.buffer->memory_), input.offset, input.row_stride);
    const HostOutputView y(*out.buffer->memory_, out.offset, out.row_stride);
    if (auto c = detail::check_views(x, y, m, store.in_features(), store.out_features()); !c) {
      return std::unexpected(c.error());
    }
    return record(ctx,
                  [x, y, m, weights = store.store_](const ReferenceBackend& device, ReferenceBackend::Context& on) {
                    return device.gemm_quant(on, x, *weights, y, m);
                  });
  }
  [[nodiscard]] Status get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                                const Output& out) const {
    const HostOutputView y(*out.buffer->memory_, out.offset, out.row_stride);
    if (auto c = detail::check_rows(row_ids, y, store.out_features(), store.in_features()); !c) {
      return std::unexpected(c.error());
    }
    const std::vector<std::uint64_t> ids(row_ids.begin(), row_ids.end());
    return record(ctx, [y, ids, weights = store.store_](const ReferenceBackend& device, ReferenceBackend::Context& on) {
      return device.get_rows(on, *weights, ids, y);
    });
  }

  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const {
    Explanation e = arithmetic_.explain(*store.store_, m);
    e.backend = name();
    return e;
  }
  [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                              std::uint64_t m, const LoadOptions& options = {}) const {
    return arithmetic_.memory_plan(parts, in_features, m, options);
  }
  [[nodiscard]] MemoryUse ledger() const { return arithmetic_.ledger(); }

 private:
  template <class F>
  Status record(Context& ctx, F work) const {
    ctx.work_.push_back([device = arithmetic_, work = std::move(work)]() -> Status {
      auto on = device.new_context();
      return on ? work(device, *on) : Status(std::unexpected(on.error()));
    });
    return {};
  }

  ReferenceBackend arithmetic_;
};

static_assert(Backend<RecordingBackend>);

}  // namespace quantlinear::test
