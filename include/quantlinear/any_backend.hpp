// One backend type for a choice at run time; itself a Backend.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "quantlinear/backend.hpp"
#include "quantlinear/cpu_backend.hpp"

namespace quantlinear {

/// Wraps any backend. QuantLinear<AnyBackend> costs one virtual call more per forward. Objects made by
/// one AnyBackend may be used with its copies; with another one they are an invalid_argument error
/// (and an empty Explanation). They keep the wrapped backend alive.
class AnyBackend {
 public:
  class Buffer;
  class Context;
  class QuantStore;
  struct Input;
  struct Output;

  template <class B>
    requires(!std::same_as<B, AnyBackend> && Backend<B>)
  explicit AnyBackend(const B& backend) : impl_(std::make_shared<const Model<B>>(backend)) {}
  // Copies only: a moved-from backend would be a handle to nothing.
  AnyBackend(const AnyBackend&) = default;
  AnyBackend& operator=(const AnyBackend&) = default;
  ~AnyBackend() = default;

  [[nodiscard]] std::string_view name() const noexcept { return impl_->name(); }
  [[nodiscard]] Result<Context> new_context() const;
  [[nodiscard]] Result<Buffer> allocate(std::uint64_t count) const;
  [[nodiscard]] Status upload(std::span<const float> source, Buffer& target) const;
  [[nodiscard]] Status download(Context& ctx, const Buffer& source, std::span<float> target) const;
  [[nodiscard]] Result<QuantStore> load_quant(const QuantPart& part, std::uint64_t in_features,
                                              const LoadOptions& options = {}) const;
  [[nodiscard]] Result<QuantStore> load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                    const LoadOptions& options = {}) const;
  [[nodiscard]] Status gemm_quant(Context& ctx, const Input& input, const QuantStore& store, const Output& out,
                                  std::uint64_t m) const;
  [[nodiscard]] Status get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                                const Output& out) const;
  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const;
  [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                              std::uint64_t m, const LoadOptions& options = {}) const;
  [[nodiscard]] MemoryUse ledger() const { return impl_->ledger(); }

 private:
  struct Interface;

  // What an erased object is: a value of the wrapped backend's type, marked with who made it.
  struct Erased {
    Erased() = default;
    Erased(const Erased&) = delete;
    Erased& operator=(const Erased&) = delete;
    virtual ~Erased() = default;
  };
  template <class T>
  struct Holder final : Erased {
    explicit Holder(T v) : value(std::move(v)) {}
    T value;
  };
  struct Object {
    Object(std::shared_ptr<const Interface> m, std::unique_ptr<Erased> h) : maker(std::move(m)), held(std::move(h)) {}
    Object(Object&&) = default;
    // What was held goes while the backend that made it is still there.
    Object& operator=(Object&& other) noexcept {
      held = std::move(other.held);
      maker = std::move(other.maker);
      return *this;
    }
    ~Object() = default;

    std::shared_ptr<const Interface> maker;  // alive as long as the object, so no other backend gets its address
    std::unique_ptr<Erased> held;            // null once moved from
  };
  struct ErasedContext : Erased {
    virtual Status flush() = 0;
  };
  struct ErasedStore : Erased {
    [[nodiscard]] virtual std::uint64_t in_features() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t out_features() const noexcept = 0;
    [[nodiscard]] virtual std::span<const QuantPart> parts() const noexcept = 0;
    [[nodiscard]] virtual Status export_part(std::size_t index, std::span<std::byte> target) const = 0;
  };
  template <class T>
  struct ContextHolder final : ErasedContext {
    explicit ContextHolder(T v) : value(std::move(v)) {}
    Status flush() override { return value.flush(); }
    T value;
  };
  template <class T>
  struct StoreHolder final : ErasedStore {
    explicit StoreHolder(T v) : value(std::move(v)) {}
    [[nodiscard]] std::uint64_t in_features() const noexcept override { return value.in_features(); }
    [[nodiscard]] std::uint64_t out_features() const noexcept override { return value.out_features(); }
    [[nodiscard]] std::span<const QuantPart> parts() const noexcept override { return value.parts(); }
    [[nodiscard]] Status export_part(std::size_t index, std::span<std::byte> target) const override {
      return value.export_part(index, target);
    }
    T value;
  };

  struct Interface {
    Interface() = default;
    Interface(const Interface&) = delete;
    Interface& operator=(const Interface&) = delete;
    virtual ~Interface() = default;
    [[nodiscard]] virtual std::string_view name() const noexcept = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<ErasedContext>> new_context() const = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<Erased>> allocate(std::uint64_t count) const = 0;
    [[nodiscard]] virtual Status upload(std::span<const float> source, Erased& target) const = 0;
    [[nodiscard]] virtual Status download(Erased& ctx, const Erased& source, std::span<float> target) const = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<ErasedStore>> load(std::span<const QuantPart> parts,
                                                                    std::uint64_t in_features,
                                                                    const LoadOptions& options) const = 0;
    [[nodiscard]] virtual Status gemm_quant(Erased& ctx, const Erased& input, std::uint64_t input_at,
                                            std::uint64_t input_stride, const Erased& store, Erased& out,
                                            std::uint64_t out_at, std::uint64_t out_stride, std::uint64_t m) const = 0;
    [[nodiscard]] virtual Status get_rows(Erased& ctx, const Erased& store, std::span<const std::uint64_t> row_ids,
                                          Erased& out, std::uint64_t out_at, std::uint64_t out_stride) const = 0;
    [[nodiscard]] virtual Explanation explain(const Erased& store, std::uint64_t m) const = 0;
    [[nodiscard]] virtual Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                        std::uint64_t m, const LoadOptions& options) const = 0;
    [[nodiscard]] virtual MemoryUse ledger() const = 0;
  };

  template <class B>
  struct Model final : Interface {
    explicit Model(const B& b) : backend(b) {}  // NOLINT(modernize-pass-by-value): not every B moves

    // AnyBackend has checked who made an object, so that its type is known here.
    static auto& context(Erased& e) { return static_cast<ContextHolder<typename B::Context>&>(e).value; }
    static auto& store(const Erased& e) { return static_cast<const StoreHolder<typename B::QuantStore>&>(e).value; }
    static auto& buffer(Erased& e) { return static_cast<Holder<typename B::Buffer>&>(e).value; }
    static auto& buffer(const Erased& e) { return static_cast<const Holder<typename B::Buffer>&>(e).value; }
    template <class H, class Base, class T>
    static Result<std::unique_ptr<Base>> hold(Result<T> result) try {
      if (!result) return std::unexpected(std::move(result.error()));
      return std::make_unique<H>(std::move(*result));
    } catch (const std::bad_alloc&) {
      return out_of_memory("cannot allocate the handle of a backend's object");
    }

    [[nodiscard]] std::string_view name() const noexcept override { return backend.name(); }
    [[nodiscard]] Result<std::unique_ptr<ErasedContext>> new_context() const override {
      return hold<ContextHolder<typename B::Context>, ErasedContext>(backend.new_context());
    }
    [[nodiscard]] Result<std::unique_ptr<Erased>> allocate(std::uint64_t count) const override {
      return hold<Holder<typename B::Buffer>, Erased>(backend.allocate(count));
    }
    [[nodiscard]] Status upload(std::span<const float> source, Erased& target) const override {
      return backend.upload(source, buffer(target));
    }
    [[nodiscard]] Status download(Erased& ctx, const Erased& source, std::span<float> target) const override {
      return backend.download(context(ctx), buffer(source), target);
    }
    [[nodiscard]] Result<std::unique_ptr<ErasedStore>> load(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                            const LoadOptions& options) const override {
      return hold<StoreHolder<typename B::QuantStore>, ErasedStore>(
          backend.load_quant_fused(parts, in_features, options));
    }
    [[nodiscard]] Status gemm_quant(Erased& ctx, const Erased& input, std::uint64_t input_at,
                                    std::uint64_t input_stride, const Erased& weights, Erased& out,
                                    std::uint64_t out_at, std::uint64_t out_stride, std::uint64_t m) const override {
      return backend.gemm_quant(context(ctx), typename B::Input(buffer(input), input_at, input_stride), store(weights),
                                typename B::Output(buffer(out), out_at, out_stride), m);
    }
    [[nodiscard]] Status get_rows(Erased& ctx, const Erased& weights, std::span<const std::uint64_t> row_ids,
                                  Erased& out, std::uint64_t out_at, std::uint64_t out_stride) const override {
      return backend.get_rows(context(ctx), store(weights), row_ids,
                              typename B::Output(buffer(out), out_at, out_stride));
    }
    [[nodiscard]] Explanation explain(const Erased& weights, std::uint64_t m) const override {
      return backend.explain(store(weights), m);
    }
    [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                std::uint64_t m, const LoadOptions& options) const override {
      return backend.memory_plan(parts, in_features, m, options);
    }
    [[nodiscard]] MemoryUse ledger() const override { return backend.ledger(); }

    B backend;
  };

  [[nodiscard]] static std::unexpected<Error> moved_from(const char* what);
  [[nodiscard]] Status check_maker(const char* what, const Object& object) const;

  std::shared_ptr<const Interface> impl_;
};

/// f32 memory of the wrapped backend; move-only.
class AnyBackend::Buffer {
 private:
  friend class AnyBackend;
  explicit Buffer(Object object) : object_(std::move(object)) {}
  Object object_;
};

/// A context of the wrapped backend.
class AnyBackend::Context {
 public:
  [[nodiscard]] Status flush() {
    if (object_.held == nullptr) return moved_from("ctx");
    return static_cast<ErasedContext&>(*object_.held).flush();
  }

 private:
  friend class AnyBackend;
  explicit Context(Object object) : object_(std::move(object)) {}
  Object object_;
};

/// A store of the wrapped backend. Once moved from it has no rows, no columns and no parts.
class AnyBackend::QuantStore {
 public:
  [[nodiscard]] std::uint64_t in_features() const noexcept { return store() == nullptr ? 0 : store()->in_features(); }
  [[nodiscard]] std::uint64_t out_features() const noexcept { return store() == nullptr ? 0 : store()->out_features(); }
  [[nodiscard]] std::span<const QuantPart> parts() const noexcept {
    return store() == nullptr ? std::span<const QuantPart>() : store()->parts();
  }
  [[nodiscard]] Status export_part(std::size_t index, std::span<std::byte> target) const {
    return store() == nullptr ? Status(moved_from("store")) : store()->export_part(index, target);
  }

 private:
  friend class AnyBackend;
  explicit QuantStore(Object object) : object_(std::move(object)) {}
  [[nodiscard]] const ErasedStore* store() const noexcept {
    return static_cast<const ErasedStore*>(object_.held.get());
  }
  Object object_;
};

/// Activations in a buffer, from `offset` floats on; row_stride 0 means dense. The buffer must outlive
/// the flush of the context.
struct AnyBackend::Input {
  const Buffer* buffer;
  std::uint64_t offset;
  std::uint64_t row_stride;
  Input(const Buffer& b, std::uint64_t at = 0, std::uint64_t stride = 0) noexcept  // NOLINT: a view
      : buffer(&b), offset(at), row_stride(stride) {}
  Input(const Buffer&&, std::uint64_t = 0, std::uint64_t = 0) = delete;  // the view would dangle
};
struct AnyBackend::Output {
  Buffer* buffer;
  std::uint64_t offset;
  std::uint64_t row_stride;
  Output(Buffer& b, std::uint64_t at = 0, std::uint64_t stride = 0) noexcept  // NOLINT: a view
      : buffer(&b), offset(at), row_stride(stride) {}
};

static_assert(Backend<AnyBackend>);

/// A backend by name: "cpu" (made with `options`) or "reference". not_found lists the names;
/// `unsupported` if the options cannot be honoured.
[[nodiscard]] Result<AnyBackend> make_backend(std::string_view name, const CpuOptions& options = {});

}  // namespace quantlinear
