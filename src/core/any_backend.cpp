#include "quantlinear/any_backend.hpp"

#include <new>
#include <string>

namespace quantlinear {

std::unexpected<Error> AnyBackend::moved_from(const char* what) try {
  return fail(ErrorCode::invalid_argument, std::string(what) + ": moved from, expected one that holds something");
} catch (const std::bad_alloc&) {
  return out_of_memory(what, ": moved from");
}

Status AnyBackend::check_maker(const char* what, const Object& object) const try {
  if (object.held == nullptr) return moved_from(what);
  if (object.maker == impl_) return {};
  return fail(ErrorCode::invalid_argument, std::string(what) + ": made by another backend, expected one of " +
                                               std::string(name()) + ", found one of " +
                                               std::string(object.maker->name()));
} catch (const std::bad_alloc&) {
  return out_of_memory(what, ": out of memory");
}

Result<AnyBackend::Context> AnyBackend::new_context() const {
  auto made = impl_->new_context();
  if (!made) return std::unexpected(std::move(made.error()));
  return Context({impl_, std::move(*made)});
}

Result<AnyBackend::Buffer> AnyBackend::allocate(std::uint64_t count) const {
  auto made = impl_->allocate(count);
  if (!made) return std::unexpected(std::move(made.error()));
  return Buffer({impl_, std::move(*made)});
}

Status AnyBackend::upload(std::span<const float> source, Buffer& target) const {
  if (Status s = check_maker("buffer", target.object_); !s) return s;
  return impl_->upload(source, *target.object_.held);
}

Status AnyBackend::download(Context& ctx, const Buffer& source, std::span<float> target) const {
  if (Status s = check_maker("ctx", ctx.object_); !s) return s;
  if (Status s = check_maker("buffer", source.object_); !s) return s;
  return impl_->download(*ctx.object_.held, *source.object_.held, target);
}

Result<AnyBackend::QuantStore> AnyBackend::load_quant(const QuantPart& part, std::uint64_t in_features,
                                                      const LoadOptions& options) const {
  return load_quant_fused({&part, 1}, in_features, options);
}

Result<AnyBackend::QuantStore> AnyBackend::load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                            const LoadOptions& options) const {
  auto made = impl_->load(parts, in_features, options);
  if (!made) return std::unexpected(std::move(made.error()));
  return QuantStore({impl_, std::move(*made)});
}

Status AnyBackend::gemm_quant(Context& ctx, const Input& input, const QuantStore& store, const Output& out,
                              std::uint64_t m) const {
  if (Status s = check_maker("ctx", ctx.object_); !s) return s;
  if (Status s = check_maker("input", input.buffer->object_); !s) return s;
  if (Status s = check_maker("store", store.object_); !s) return s;
  if (Status s = check_maker("out", out.buffer->object_); !s) return s;
  return impl_->gemm_quant(*ctx.object_.held, *input.buffer->object_.held, input.offset, input.row_stride,
                           *store.object_.held, *out.buffer->object_.held, out.offset, out.row_stride, m);
}

Status AnyBackend::get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                            const Output& out) const {
  if (Status s = check_maker("ctx", ctx.object_); !s) return s;
  if (Status s = check_maker("store", store.object_); !s) return s;
  if (Status s = check_maker("out", out.buffer->object_); !s) return s;
  return impl_->get_rows(*ctx.object_.held, *store.object_.held, row_ids, *out.buffer->object_.held, out.offset,
                         out.row_stride);
}

Explanation AnyBackend::explain(const QuantStore& store, std::uint64_t m) const {
  if (!check_maker("store", store.object_)) return {};
  return impl_->explain(*store.object_.held, m);
}

Result<MemoryUse> AnyBackend::memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features, std::uint64_t m,
                                          const LoadOptions& options) const {
  return impl_->memory_plan(parts, in_features, m, options);
}

}  // namespace quantlinear
