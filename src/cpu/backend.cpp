// CpuBackend: checks, scratch memory, the division of work. The arithmetic is in the kernels.
#include <algorithm>
#include <new>

#include "core/checks.hpp"
#include "core/printable.hpp"
#include "cpu/cpu_features.hpp"
#include "cpu/forward_plan.hpp"
#include "cpu/interleave.hpp"
#include "cpu/piece.hpp"
#include "cpu/scratch.hpp"
#include "quantlinear/cpu_backend.hpp"

namespace quantlinear {

using cpu::ForwardPlan;
using cpu::LayerKernels;
using cpu::Ledger;
using cpu::PartKernels;

struct CpuBackend::Impl {
  CpuOptions options;
  Status status;
  const cpu::InstructionSet* isa = nullptr;
  std::vector<const cpu::InstructionSet*> choices;  // isa, then what parts fall back to if it fails its proof
  std::shared_ptr<Executor> executor;
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>();

  [[nodiscard]] Result<LayerKernels> kernels(std::span<const QuantPart> parts, std::uint64_t in_features,
                                             const LoadOptions& load) const {
    if (!status) return std::unexpected(status.error());
    const Precision precision = load.precision.value_or(options.precision);
    if (precision > Precision::a8) {
      return fail(ErrorCode::invalid_argument, "precision: found the value " +
                                                   std::to_string(static_cast<unsigned>(precision)) +
                                                   ", expected f32, a16 or a8");
    }
    const Result<std::uint64_t> out_features = detail::check_parts(parts, in_features);
    if (!out_features) return std::unexpected(out_features.error());
    return cpu::choose_kernels(choices, parts, in_features, *out_features, precision, load.layout);
  }
};

struct CpuBackend::QuantStore::Impl {
  std::vector<QuantPart> parts;     // without bytes where they are interleaved
  std::vector<QuantBytes> weights;  // of each part, as its kernels want them
  LayerKernels kernels;
  Precision precision = Precision::a8;
  std::shared_ptr<Ledger> ledger;
  MemoryUse use;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (ledger) ledger->remove(use);
  }
};

struct CpuBackend::PreparedInput::Impl {
  explicit Impl(std::shared_ptr<Ledger> ledger) : memory(std::move(ledger)) {}
  std::uint64_t in_features = 0, m = 0;
  cpu::PreparedLayout layout;  // of a piece; pieces stand one after the other
  cpu::Scratch memory;
  std::byte* first = nullptr;
};

struct CpuBackend::Context::Impl {
  explicit Impl(std::shared_ptr<Ledger> ledger) : scratch(std::move(ledger)) {}
  cpu::Scratch scratch;
};

namespace {

std::unexpected<Error> moved_from(const std::string& what) {
  return fail(ErrorCode::invalid_argument, what + ": moved from, expected one that holds something");
}

MemoryUse store_use(std::span<const QuantPart> parts, const LayerKernels& kernels) {
  MemoryUse use;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const bool own = kernels.parts[p].interleaved_rows != 0;
    (own || parts[p].bytes.residence() == QuantBytes::Residence::owned ? use.resident_bytes : use.shared_bytes) +=
        parts[p].bytes.size();
    use.resident_bytes += parts[p].bias.size() * sizeof(float);
  }
  return use;
}

/// The matrix of a part as interleave.hpp wants it.
cpu::InterleavedRows interleaved_part(const PartKernels& kernels, const QuantPart& part) {
  return {kernels.format->block, kernels.row_bytes, part.rows};
}

std::string text_of(const cpu::ActivationSpec& spec) {
  if (spec.precision == Precision::f32) return spec.side_by_side == 1 ? "f32" : "f32, two rows side by side";
  return std::string(spec.precision == Precision::a8 ? "8" : "16") + "-bit integers up to " +
         std::to_string(spec.max_q) + " per " + std::to_string(spec.block) + " values" +
         (spec.planes ? ", in two planes of bytes" : "");
}

}  // namespace

CpuBackend::CpuBackend(const CpuOptions& options) : impl_(std::make_shared<Impl>()) {
  impl_->options = options;
  const std::uint32_t features = cpu::detect_features();
  std::string known;
  for (const cpu::InstructionSet& isa : cpu::instruction_sets()) {
    known += (known.empty() ? "" : ", ") + std::string(isa.name);
    const std::uint32_t missing = isa.features & ~features;
    if (options.instruction_set.empty()) {
      if (missing == 0) {
        impl_->isa = &isa;
        impl_->choices.insert(impl_->choices.begin(), &isa);
      }
    } else if (isa.name == options.instruction_set) {
      impl_->isa = &isa;
      impl_->choices = {&isa};
      if (missing != 0) {
        impl_->status = fail(ErrorCode::unsupported, "instruction_set " + detail::printable(options.instruction_set) +
                                                         ": this machine lacks " + cpu::feature_names(missing));
      }
    }
  }
  if (impl_->isa == nullptr) {
    impl_->isa = &cpu::instruction_sets().front();
    impl_->status = fail(ErrorCode::unsupported, "instruction_set \"" + detail::printable(options.instruction_set) +
                                                     "\" is not in this build; it has " + known);
  }
  impl_->executor = options.executor ? options.executor : make_thread_pool(options.threads);
}

Status CpuBackend::status() const try { return impl_->status; } catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in status");
}
std::string_view CpuBackend::instruction_set() const noexcept { return impl_->isa->name; }
std::size_t CpuBackend::threads() const noexcept { return impl_->executor->concurrency(); }

std::span<const InstructionSetInfo> CpuBackend::instruction_sets() try {
  static const std::vector<std::string> reasons = [] {
    std::vector<std::string> r;
    for (const cpu::InstructionSet& isa : cpu::instruction_sets()) {
      const std::uint32_t missing = isa.features & ~cpu::detect_features();
      r.push_back(missing == 0 ? "" : "this machine lacks " + cpu::feature_names(missing));
    }
    return r;
  }();
  static const std::vector<InstructionSetInfo> infos = [] {
    std::vector<InstructionSetInfo> r;
    for (const cpu::InstructionSet& isa : cpu::instruction_sets()) {
      r.push_back({isa.name, reasons[r.size()].empty(), reasons[r.size()]});
    }
    return r;
  }();
  return infos;
} catch (const std::bad_alloc&) {
  return {};
}

Result<CpuBackend::Context> CpuBackend::new_context() const try {
  if (!impl_->status) return std::unexpected(impl_->status.error());
  return Context(std::make_unique<Context::Impl>(impl_->ledger));
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in new_context");
}

Status CpuBackend::upload(std::span<const float> source, HostBuffer& target) const {
  return detail::copy_to_buffer(source, target);
}

Status CpuBackend::download(Context&, const HostBuffer& source, std::span<float> target) const {
  return detail::copy_from_buffer(source, target);
}

Result<CpuBackend::QuantStore> CpuBackend::load_quant(const QuantPart& part, std::uint64_t in_features,
                                                      const LoadOptions& options) const {
  return load_quant_fused({&part, 1}, in_features, options);
}

Result<CpuBackend::QuantStore> CpuBackend::load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                            const LoadOptions& options) const try {
  Result<LayerKernels> kernels = impl_->kernels(parts, in_features, options);
  if (!kernels) return std::unexpected(std::move(kernels.error()));
  auto store = std::make_unique<QuantStore::Impl>();
  store->use = store_use(parts, *kernels);
  store->kernels = std::move(*kernels);
  store->parts.assign(parts.begin(), parts.end());
  for (std::size_t p = 0; p < parts.size(); ++p) {
    PartKernels& part = store->kernels.parts[p];
    store->weights.push_back(parts[p].bytes);
    if (part.interleaved_rows != 0) {
      Result<QuantBytes> copy =
          cpu::interleave(interleaved_part(part, parts[p]), parts[p].bytes.bytes(), *impl_->executor);
      if (!copy) return std::unexpected(std::move(copy.error()));
      store->parts[p].bytes.give_up_pages();
      store->parts[p].bytes = {};
      store->weights[p] = std::move(*copy);
    }
    part.weights = store->weights[p].bytes().data();
  }
  store->precision = options.precision.value_or(impl_->options.precision);
  store->ledger = impl_->ledger;
  store->ledger->add(store->use);
  return QuantStore(std::move(store));
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in load_quant");
}

Status CpuBackend::gemm_quant(Context& ctx, const HostInput& input, const QuantStore& store, const HostOutput& out,
                              std::uint64_t m) const try {
  if (!impl_->status) return impl_->status;
  if (store.impl_ == nullptr) return moved_from("store");
  if (ctx.impl_ == nullptr) return moved_from("context");
  const QuantStore::Impl& s = *store.impl_;
  const Result<detail::CheckedViews> views =
      detail::check_views(input, out, m, s.kernels.in_features, s.kernels.out_features);
  if (!views) return std::unexpected(views.error());
  if (m == 0 || s.kernels.out_features == 0) return {};
  const ForwardPlan plan = cpu::plan_forward(s.kernels, s.parts, m, impl_->executor->concurrency());
  const Result<std::byte*> scratch = ctx.impl_->scratch.reserve(plan.bytes);
  if (!scratch) return std::unexpected(scratch.error());
  plan.pieces.for_each(m, [&](std::size_t, std::size_t first, std::size_t rows) {
    const HostInput x = cpu::rows_from(views->input, first);
    cpu::prepare_rows(plan.prepared, x, s.kernels.in_features, rows, *scratch, *impl_->executor);
    const cpu::Piece piece{s.parts,
                           s.kernels,
                           plan,
                           plan.prepared,
                           *scratch,
                           *scratch + plan.prepared.bytes,
                           cpu::rows_from(views->out, first),
                           rows};
    piece.multiply(*impl_->executor);
  });
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in forward");
}

Result<CpuBackend::PreparedInput> CpuBackend::prepare(const HostInput& x, std::uint64_t m,
                                                      std::span<const QuantStore* const> stores) const try {
  if (!impl_->status) return std::unexpected(impl_->status.error());
  if (stores.empty()) return fail(ErrorCode::invalid_argument, "stores: the list is empty, expected at least one");
  for (std::size_t i = 0; i < stores.size(); ++i) {
    const std::string where = "stores[" + std::to_string(i) + "]: ";
    if (stores[i] == nullptr) return fail(ErrorCode::invalid_argument, where + "is null, expected a store");
    if (stores[i]->impl_ == nullptr) return moved_from("stores[" + std::to_string(i) + "]");
    if (stores[i]->in_features() != stores[0]->in_features()) {
      return fail(ErrorCode::invalid_argument, where + "in_features: found " +
                                                   std::to_string(stores[i]->in_features()) + ", expected " +
                                                   std::to_string(stores[0]->in_features()) + " as of stores[0]");
    }
  }
  const std::uint64_t in_features = stores[0]->in_features();
  const Result<detail::CheckedViews> views = detail::check_views(x, {}, m, in_features, 0);
  if (!views) return std::unexpected(views.error());
  std::vector<const LayerKernels*> layers;
  for (const QuantStore* store : stores) layers.push_back(&store->impl_->kernels);
  auto made = std::make_unique<PreparedInput::Impl>(impl_->ledger);
  made->in_features = in_features;
  made->m = m;
  if (m == 0) return PreparedInput(std::move(made));
  const cpu::Pieces pieces(m);
  made->layout = cpu::layout_prepared(layers, pieces.columns);
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(pieces.count, made->layout.bytes, &bytes)) {
    return out_of_memory("cannot allocate prepared activations of ", m, " rows");
  }
  const Result<std::byte*> memory = made->memory.reserve(bytes);
  if (!memory) return std::unexpected(memory.error());
  made->first = *memory;
  pieces.for_each(m, [&](std::size_t piece, std::size_t first, std::size_t rows) {
    cpu::prepare_rows(made->layout, cpu::rows_from(views->input, first), in_features, rows,
                      *memory + piece * made->layout.bytes, *impl_->executor);
  });
  return PreparedInput(std::move(made));
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in prepare");
}

Status CpuBackend::gemm_quant(Context& ctx, const PreparedInput& input, const QuantStore& store,
                              const HostOutput& out) const try {
  if (!impl_->status) return impl_->status;
  if (input.impl_ == nullptr) return moved_from("prepared input");
  if (store.impl_ == nullptr) return moved_from("store");
  if (ctx.impl_ == nullptr) return moved_from("context");
  const QuantStore::Impl& s = *store.impl_;
  const PreparedInput::Impl& x = *input.impl_;
  if (x.in_features != s.kernels.in_features) {
    return fail(ErrorCode::invalid_argument, "prepared input: found rows of " + std::to_string(x.in_features) +
                                                 ", expected " + std::to_string(s.kernels.in_features));
  }
  if (x.m == 0) return {};
  const Result<detail::CheckedViews> views = detail::check_views({}, out, x.m, 0, s.kernels.out_features);
  if (!views) return std::unexpected(views.error());
  const ForwardPlan plan = cpu::plan_lanes(s.kernels, s.parts, x.m, impl_->executor->concurrency());
  for (std::size_t p = 0; p < s.parts.size(); ++p) {
    const cpu::ActivationSpec needed = cpu::spec_of(*s.kernels.parts[p].product, plan.pieces.columns);
    if (x.layout.find(needed) != nullptr) continue;
    std::string found;
    for (const auto& entry : x.layout.all()) found += (found.empty() ? "" : ", ") + text_of(entry.spec);
    return fail(ErrorCode::invalid_argument, "prepared input: found " + found + ", expected " + text_of(needed) +
                                                 " for " + std::string(to_string(s.parts[p].kind)) +
                                                 "; name this store when preparing");
  }
  if (s.kernels.out_features == 0) return {};
  const Result<std::byte*> scratch = ctx.impl_->scratch.reserve(plan.bytes);
  if (!scratch) return std::unexpected(scratch.error());
  plan.pieces.for_each(x.m, [&](std::size_t piece, std::size_t first, std::size_t rows) {
    const cpu::Piece work{s.parts,
                          s.kernels,
                          plan,
                          x.layout,
                          x.first + piece * x.layout.bytes,
                          *scratch,
                          cpu::rows_from(views->out, first),
                          rows};
    work.multiply(*impl_->executor);
  });
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in forward");
}

Status CpuBackend::get_rows(Context&, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                            const HostOutput& out) const try {
  if (!impl_->status) return impl_->status;
  if (store.impl_ == nullptr) return moved_from("store");
  const QuantStore::Impl& s = *store.impl_;
  const Result<HostOutput> view = detail::check_rows(row_ids, out, s.kernels.out_features, s.kernels.in_features);
  if (!view) return std::unexpected(view.error());
  std::size_t longest = 0;  // all memory before the first row is written
  for (const PartKernels& part : s.kernels.parts) {
    if (part.interleaved_rows != 0) longest = std::max<std::size_t>(longest, part.row_bytes);
  }
  std::vector<std::byte> extracted(longest);
  for (std::size_t i = 0; i < row_ids.size(); ++i) {
    std::size_t p = 0;
    std::uint64_t row = row_ids[i];
    while (row >= s.parts[p].rows) row -= s.parts[p++].rows;
    const PartKernels& part = s.kernels.parts[p];
    const QuantTypeInfo& info = *quant_type_info(s.parts[p].kind);
    const std::byte* blocks = part.weights + row * part.row_bytes;
    if (part.interleaved_rows != 0) {
      cpu::extract_row(interleaved_part(part, s.parts[p]), s.weights[p].bytes(), row, extracted.data());
      blocks = extracted.data();
    }
    part.format->dequantize(reinterpret_cast<const std::uint8_t*>(blocks), s.kernels.in_features / info.block_elements,
                            view->data + i * view->row_stride);
  }
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in get_rows");
}

Explanation CpuBackend::explain(const QuantStore& store, std::uint64_t m) const try {
  if (store.impl_ == nullptr) return {};
  const QuantStore::Impl& s = *store.impl_;
  const ForwardPlan plan = cpu::plan_forward(s.kernels, s.parts, m, impl_->executor->concurrency());
  Explanation e;
  e.backend = "cpu";
  e.in_features = s.kernels.in_features;
  e.out_features = s.kernels.out_features;
  e.m = m;
  e.threads = plan.lanes;
  e.memory = s.use;
  e.memory.transient_bytes = m == 0 || s.kernels.out_features == 0 ? 0 : plan.bytes;
  for (std::size_t i = 0; i < s.parts.size(); ++i) {
    const cpu::KernelDescription d =
        s.kernels.parts[i].product->describe(std::max<std::size_t>(plan.pieces.columns, 1));
    PartExplanation part;
    part.kind = s.parts[i].kind;
    part.rows = s.parts[i].rows;
    part.requested = s.precision;
    const cpu::ActivationSpec spec = cpu::spec_of(*s.kernels.parts[i].product, plan.pieces.columns);
    part.runs = spec.precision == Precision::f32 ? Precision::f32 : spec.max_q == 127 ? Precision::a8 : Precision::a16;
    part.instruction_set = s.kernels.parts[i].set->name;
    part.kernel = d.kernel;
    part.path = d.path;
    part.tile_rows = d.tile_rows;
    part.tile_columns = d.tile_columns;
    const auto because = [&part](std::string_view reason) {
      part.reason += (part.reason.empty() || reason.empty() ? "" : "; ") + std::string(reason);
    };
    if (part.runs != part.requested) because("float weights always run f32");
    because(s.kernels.parts[i].reason);
    if (!impl_->options.instruction_set.empty()) because("instruction set chosen by the caller");
    e.parts.push_back(std::move(part));
  }
  return e;
} catch (const std::bad_alloc&) {
  return {};
}

Result<MemoryUse> CpuBackend::memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features, std::uint64_t m,
                                          const LoadOptions& options) const try {
  const Result<LayerKernels> kernels = impl_->kernels(parts, in_features, options);
  if (!kernels) return std::unexpected(kernels.error());
  MemoryUse use = store_use(parts, *kernels);
  if (m != 0 && kernels->out_features != 0) {
    use.transient_bytes = cpu::plan_forward(*kernels, parts, m, impl_->executor->concurrency()).bytes;
  }
  return use;
} catch (const std::bad_alloc&) {
  return out_of_memory("cpu: out of memory in memory_plan");
}

MemoryUse CpuBackend::ledger() const { return impl_->ledger->read(); }

CpuBackend::Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::Context::Context(Context&&) noexcept = default;
CpuBackend::Context& CpuBackend::Context::operator=(Context&&) noexcept = default;
CpuBackend::Context::~Context() = default;

CpuBackend::PreparedInput::PreparedInput(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::PreparedInput::PreparedInput(PreparedInput&&) noexcept = default;
CpuBackend::PreparedInput& CpuBackend::PreparedInput::operator=(PreparedInput&&) noexcept = default;
CpuBackend::PreparedInput::~PreparedInput() = default;
std::uint64_t CpuBackend::PreparedInput::in_features() const noexcept { return impl_ ? impl_->in_features : 0; }
std::uint64_t CpuBackend::PreparedInput::rows() const noexcept { return impl_ ? impl_->m : 0; }

CpuBackend::QuantStore::QuantStore(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::QuantStore::QuantStore(QuantStore&&) noexcept = default;
CpuBackend::QuantStore& CpuBackend::QuantStore::operator=(QuantStore&&) noexcept = default;
CpuBackend::QuantStore::~QuantStore() = default;
std::uint64_t CpuBackend::QuantStore::in_features() const noexcept { return impl_ ? impl_->kernels.in_features : 0; }
std::uint64_t CpuBackend::QuantStore::out_features() const noexcept { return impl_ ? impl_->kernels.out_features : 0; }
std::span<const QuantPart> CpuBackend::QuantStore::parts() const noexcept {
  return impl_ ? std::span<const QuantPart>(impl_->parts) : std::span<const QuantPart>();
}
Status CpuBackend::QuantStore::export_part(std::size_t index, std::span<std::byte> target) const {
  if (Status status = detail::check_export(parts(), in_features(), index, target.size()); !status) return status;
  const PartKernels& part = impl_->kernels.parts[index];
  const std::span<const std::byte> weights = impl_->weights[index].bytes();
  if (part.interleaved_rows == 0) {
    std::ranges::copy(weights, target.begin());
    return {};
  }
  for (std::size_t row = 0; row < impl_->parts[index].rows; ++row) {
    cpu::extract_row(interleaved_part(part, impl_->parts[index]), weights, row, target.data() + row * part.row_bytes);
  }
  return {};
}
Precision CpuBackend::QuantStore::precision() const noexcept { return impl_ ? impl_->precision : Precision::a8; }

}  // namespace quantlinear
