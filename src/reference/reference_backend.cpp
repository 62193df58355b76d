// ReferenceBackend: as simple as possible, so that it can be believed.
#include "quantlinear/reference_backend.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

#include "core/checks.hpp"

namespace quantlinear {

struct ReferenceBackend::Impl {
  std::atomic<std::uint64_t> resident{0}, shared{0};
};

struct ReferenceBackend::QuantStore::Impl {
  std::vector<QuantPart> parts;  // for callers and verify(); the weights below are what is used
  std::vector<std::vector<float>> weights;
  std::uint64_t in_features = 0, out_features = 0;
  MemoryUse use;
  std::shared_ptr<ReferenceBackend::Impl> backend;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (!backend) return;
    backend->resident -= use.resident_bytes;
    backend->shared -= use.shared_bytes;
  }
};

namespace {

/// f32 weights and biases, and the blocks they came from.
MemoryUse use_of(std::span<const QuantPart> parts, std::uint64_t in_features) {
  MemoryUse use;
  for (const QuantPart& part : parts) {
    use.resident_bytes += part.rows * in_features * sizeof(float) + part.bias.size() * sizeof(float);
    const bool owned = part.bytes.residence() == QuantBytes::Residence::owned;
    (owned ? use.resident_bytes : use.shared_bytes) += part.bytes.size();
  }
  return use;
}

std::unexpected<Error> no_memory(std::uint64_t out_features, std::uint64_t in_features) {
  return out_of_memory("reference: cannot allocate f32 weights of ", out_features, " x ", in_features);
}

std::unexpected<Error> moved_from() {
  return fail(ErrorCode::invalid_argument, "store: moved from, expected one that holds something");
}

}  // namespace

ReferenceBackend::ReferenceBackend() : impl_(std::make_shared<Impl>()) {}

Result<ReferenceBackend::Context> ReferenceBackend::new_context() const { return Context{}; }

Status ReferenceBackend::upload(std::span<const float> source, HostBuffer& target) const {
  return detail::copy_to_buffer(source, target);
}

Status ReferenceBackend::download(Context&, const HostBuffer& source, std::span<float> target) const {
  return detail::copy_from_buffer(source, target);
}

Result<ReferenceBackend::QuantStore> ReferenceBackend::load_quant(const QuantPart& part, std::uint64_t in_features,
                                                                  const LoadOptions& options) const {
  return load_quant_fused({&part, 1}, in_features, options);
}

Result<ReferenceBackend::QuantStore> ReferenceBackend::load_quant_fused(std::span<const QuantPart> parts,
                                                                        std::uint64_t in_features,
                                                                        const LoadOptions&) const {
  std::uint64_t out_features = 0;
  try {
    const Result<std::uint64_t> checked = detail::check_parts(parts, in_features);
    if (!checked) return std::unexpected(checked.error());
    out_features = *checked;
    auto store = std::make_unique<QuantStore::Impl>();
    store->in_features = in_features;
    store->out_features = out_features;
    for (const QuantPart& part : parts) {
      std::vector<float> weights(part.rows * in_features);
      if (Status s = dequantize(part.kind, part.bytes.bytes(), weights); !s) return std::unexpected(s.error());
      store->weights.push_back(std::move(weights));
      store->parts.push_back(part);
    }
    store->use = use_of(parts, in_features);
    store->backend = impl_;
    impl_->resident += store->use.resident_bytes;
    impl_->shared += store->use.shared_bytes;
    return QuantStore(std::move(store));
  } catch (const std::bad_alloc&) {
    return no_memory(out_features, in_features);
  } catch (const std::length_error&) {
    return no_memory(out_features, in_features);
  }
}

Status ReferenceBackend::gemm_quant(Context&, const HostInput& input, const QuantStore& store, const HostOutput& out,
                                    std::uint64_t m) const try {
  if (store.impl_ == nullptr) return moved_from();
  const QuantStore::Impl& s = *store.impl_;
  const Result<detail::CheckedViews> views = detail::check_views(input, out, m, s.in_features, s.out_features);
  if (!views) return std::unexpected(views.error());
  if (s.out_features == 0) return {};
  for (std::uint64_t i = 0; i < m; ++i) {
    const std::span<const float> x(views->input.data + i * views->input.row_stride, s.in_features);
    float* y = views->out.data + i * views->out.row_stride;
    const bool finite = std::ranges::all_of(x, [](float v) { return std::isfinite(v); });
    for (std::size_t p = 0; p < s.parts.size(); ++p) {
      const float* w = s.weights[p].data();
      for (std::uint64_t row = 0; row < s.parts[p].rows; ++row, w += s.in_features) {
        double sum = 0;
        for (std::uint64_t k = 0; k < s.in_features; ++k) sum += static_cast<double>(x[k]) * static_cast<double>(w[k]);
        if (!s.parts[p].bias.empty()) sum += static_cast<double>(s.parts[p].bias[row]);
        *y++ = finite ? static_cast<float>(sum) : std::numeric_limits<float>::quiet_NaN();
      }
    }
  }
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("reference: out of memory in gemm_quant");
}

Status ReferenceBackend::get_rows(Context&, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                                  const HostOutput& out) const try {
  if (store.impl_ == nullptr) return moved_from();
  const QuantStore::Impl& s = *store.impl_;
  const Result<HostOutput> view = detail::check_rows(row_ids, out, s.out_features, s.in_features);
  if (!view) return std::unexpected(view.error());
  for (std::size_t i = 0; i < row_ids.size(); ++i) {
    std::size_t p = 0;
    std::uint64_t row = row_ids[i];
    while (row >= s.parts[p].rows) row -= s.parts[p++].rows;
    std::copy_n(s.weights[p].data() + row * s.in_features, s.in_features, view->data + i * view->row_stride);
  }
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("reference: out of memory in get_rows");
}

Explanation ReferenceBackend::explain(const QuantStore& store, std::uint64_t m) const try {
  if (store.impl_ == nullptr) return {};
  const QuantStore::Impl& s = *store.impl_;
  Explanation e;
  e.backend = "reference";
  e.in_features = s.in_features;
  e.out_features = s.out_features;
  e.m = m;
  e.threads = 1;
  e.memory = s.use;
  for (const QuantPart& part : s.parts) {
    PartExplanation p;
    p.kind = part.kind;
    p.rows = part.rows;
    p.requested = p.runs = Precision::f32;
    p.instruction_set = "baseline";
    p.kernel = "f64 sums";
    p.path = "weights decoded to f32 at load";
    p.tile_rows = p.tile_columns = 1;
    e.parts.push_back(std::move(p));
  }
  return e;
} catch (const std::bad_alloc&) {
  return {};
}

Result<MemoryUse> ReferenceBackend::memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                std::uint64_t, const LoadOptions&) const try {
  const Result<std::uint64_t> checked = detail::check_parts(parts, in_features);
  if (!checked) return std::unexpected(checked.error());
  return use_of(parts, in_features);
} catch (const std::bad_alloc&) {
  return out_of_memory("reference: out of memory in memory_plan");
}

MemoryUse ReferenceBackend::ledger() const { return {impl_->resident.load(), impl_->shared.load(), 0}; }

ReferenceBackend::QuantStore::QuantStore(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ReferenceBackend::QuantStore::QuantStore(QuantStore&&) noexcept = default;
ReferenceBackend::QuantStore& ReferenceBackend::QuantStore::operator=(QuantStore&&) noexcept = default;
ReferenceBackend::QuantStore::~QuantStore() = default;
std::uint64_t ReferenceBackend::QuantStore::in_features() const noexcept { return impl_ ? impl_->in_features : 0; }
std::uint64_t ReferenceBackend::QuantStore::out_features() const noexcept { return impl_ ? impl_->out_features : 0; }
std::span<const QuantPart> ReferenceBackend::QuantStore::parts() const noexcept {
  return impl_ ? std::span<const QuantPart>(impl_->parts) : std::span<const QuantPart>();
}

Status ReferenceBackend::QuantStore::export_part(std::size_t index, std::span<std::byte> target) const {
  if (Status s = detail::check_export(parts(), in_features(), index, target.size()); !s) return s;
  std::ranges::copy(impl_->parts[index].bytes.bytes(), target.begin());
  return {};
}

}  // namespace quantlinear
