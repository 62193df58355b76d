// CpuBackend: checks, scratch memory, the division of work. The arithmetic is in the kernels.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "core/checks.hpp"
#include "cpu/cpu_features.hpp"
#include "cpu/forward_plan.hpp"
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
    const Result<std::uint64_t> out_features = detail::check_parts(parts, in_features);
    if (!out_features) return std::unexpected(out_features.error());
    return cpu::choose_kernels(choices, parts, in_features, *out_features, load.precision.value_or(options.precision));
  }
};

struct CpuBackend::QuantStore::Impl {
  std::vector<QuantPart> parts;
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

struct CpuBackend::Context::Impl {
  explicit Impl(std::shared_ptr<Ledger> ledger) : scratch(std::move(ledger)) {}
  cpu::Scratch scratch;
};

namespace {

/// Runs `body`, turning a failed allocation of the standard library into an error.
template <class Body>
auto without_bad_alloc(const char* what, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory, std::string("cpu: out of memory in ") + what);
  }
}

MemoryUse store_use(std::span<const QuantPart> parts) {
  MemoryUse use;
  for (const QuantPart& part : parts) {
    (part.bytes.residence() == QuantBytes::Residence::owned ? use.resident_bytes : use.shared_bytes) +=
        part.bytes.size();
    use.resident_bytes += part.bias.size() * sizeof(float);
  }
  return use;
}

/// One piece of a forward: up to kMaxColumns activation rows.
struct Piece {
  std::span<const QuantPart> parts;
  const LayerKernels& layer;
  const ForwardPlan& plan;
  std::byte* scratch;
  HostInput input;
  HostOutput out;
  std::size_t m;

  [[nodiscard]] bool* finite() const { return reinterpret_cast<bool*>(scratch + plan.finite_at); }

  void prepare(std::size_t row) const noexcept {
    finite()[row] = true;
    for (std::size_t s = 0; s < plan.specs.size(); ++s) {
      finite()[row] &= plan.prepare_row[s](plan.specs[s], input.data + row * input.row_stride, layer.in_features, row,
                                           m, scratch + plan.values_at[s], scratch + plan.meta_at[s]);
    }
  }

  /// Work item `item`: its granules of rows, counted through the parts.
  void multiply(std::size_t item, std::byte* lane_scratch) const noexcept {
    std::size_t first = item * plan.granules_per_item;
    std::size_t end = first + plan.granules_per_item;
    for (std::size_t p = 0; p < parts.size() && end != 0; ++p) {
      const std::size_t granules = (parts[p].rows + cpu::kRowGranule - 1) / cpu::kRowGranule;
      if (first < granules) {
        const PartKernels& part = layer.parts[p];
        const std::size_t s = plan.spec_of_part[p];
        part.product->run({.weights = reinterpret_cast<const std::uint8_t*>(parts[p].bytes.bytes().data()),
                           .row_bytes = part.row_bytes,
                           .row_begin = first * cpu::kRowGranule,
                           .row_end = std::min<std::size_t>(end * cpu::kRowGranule, parts[p].rows),
                           .in_features = layer.in_features,
                           .x = {scratch + plan.values_at[s], scratch + plan.meta_at[s], m},
                           .out = out.data + part.first_column,
                           .out_stride = out.row_stride,
                           .bias = parts[p].bias.empty() ? nullptr : parts[p].bias.data(),
                           .scratch = lane_scratch});
      }
      first -= std::min(first, granules);
      end -= std::min(end, granules);
    }
  }

  void run(Executor& executor) const noexcept {
    // Preparing a row costs about a nanosecond per eight values: share it out only when there is much.
    constexpr std::size_t kValuesPerLane = 16384;
    const std::size_t lanes = std::min({executor.concurrency(), m, m * layer.in_features / kValuesPerLane + 1});
    if (lanes <= 1) {
      for (std::size_t row = 0; row < m; ++row) prepare(row);
    } else {
      auto rows = [&](std::size_t lane) {
        for (std::size_t row = lane * m / lanes; row < (lane + 1) * m / lanes; ++row) prepare(row);
      };
      executor.run(lanes, rows);
    }
    if (plan.lanes <= 1) {
      for (std::size_t item = 0; item < plan.items; ++item) multiply(item, scratch + plan.lane_at);
    } else {
      std::atomic<std::size_t> next{0};
      auto work = [&](std::size_t lane) {
        std::byte* own = scratch + plan.lane_at + lane * plan.lane_bytes;
        for (std::size_t item = next++; item < plan.items; item = next++) multiply(item, own);
      };
      executor.run(plan.lanes, work);
    }
    for (std::size_t row = 0; row < m; ++row) {
      if (!finite()[row]) {
        std::fill_n(out.data + row * out.row_stride, layer.out_features, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }
};

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
        impl_->status = fail(ErrorCode::unsupported, "instruction_set " + options.instruction_set +
                                                         ": this machine lacks " + cpu::feature_names(missing));
      }
    }
  }
  if (impl_->isa == nullptr) {
    impl_->isa = &cpu::instruction_sets().front();
    impl_->status = fail(ErrorCode::unsupported,
                         "instruction_set \"" + options.instruction_set + "\" is not in this build; it has " + known);
  }
  impl_->executor = options.executor ? options.executor : make_thread_pool(options.threads);
}

Status CpuBackend::status() const { return impl_->status; }
std::string_view CpuBackend::instruction_set() const noexcept { return impl_->isa->name; }
std::size_t CpuBackend::threads() const noexcept { return impl_->executor->concurrency(); }

std::span<const InstructionSetInfo> CpuBackend::instruction_sets() {
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
}

Result<CpuBackend::Context> CpuBackend::new_context() const {
  if (!impl_->status) return std::unexpected(impl_->status.error());
  return without_bad_alloc(
      "new_context", [&]() -> Result<Context> { return Context(std::make_unique<Context::Impl>(impl_->ledger)); });
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
                                                            const LoadOptions& options) const {
  return without_bad_alloc("load_quant", [&]() -> Result<QuantStore> {
    Result<LayerKernels> kernels = impl_->kernels(parts, in_features, options);
    if (!kernels) return std::unexpected(std::move(kernels.error()));
    auto store = std::make_unique<QuantStore::Impl>();
    store->parts.assign(parts.begin(), parts.end());
    store->kernels = std::move(*kernels);
    store->precision = options.precision.value_or(impl_->options.precision);
    store->use = store_use(parts);
    store->ledger = impl_->ledger;
    store->ledger->add(store->use);
    return QuantStore(std::move(store));
  });
}

Status CpuBackend::gemm_quant(Context& ctx, const HostInput& input, const QuantStore& store, const HostOutput& out,
                              std::uint64_t m) const {
  if (!impl_->status) return impl_->status;
  const QuantStore::Impl& s = *store.impl_;
  const Result<detail::CheckedViews> views =
      detail::check_views(input, out, m, s.kernels.in_features, s.kernels.out_features);
  if (!views) return std::unexpected(views.error());
  if (m == 0 || s.kernels.out_features == 0) return {};
  return without_bad_alloc("forward", [&]() -> Status {
    const ForwardPlan plan = cpu::plan_forward(s.kernels, s.parts, m, impl_->executor->concurrency());
    const Result<std::byte*> scratch = ctx.impl_->scratch.reserve(plan.bytes);
    if (!scratch) return std::unexpected(scratch.error());
    Piece piece{s.parts, s.kernels, plan, *scratch, views->input, views->out, 0};
    for (std::uint64_t done = 0, left = plan.pieces; left != 0; done += piece.m, --left) {
      piece.input.data = views->input.data + done * views->input.row_stride;
      piece.out.data = views->out.data + done * views->out.row_stride;
      piece.m = cpu::ceil_divide(m - done, left);
      piece.run(*impl_->executor);
    }
    return {};
  });
}

Status CpuBackend::get_rows(Context&, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                            const HostOutput& out) const {
  if (!impl_->status) return impl_->status;
  const QuantStore::Impl& s = *store.impl_;
  const Result<HostOutput> view = detail::check_rows(row_ids, out, s.kernels.out_features, s.kernels.in_features);
  if (!view) return std::unexpected(view.error());
  for (std::size_t i = 0; i < row_ids.size(); ++i) {
    std::size_t p = 0;
    std::uint64_t row = row_ids[i];
    while (row >= s.parts[p].rows) row -= s.parts[p++].rows;
    const PartKernels& part = s.kernels.parts[p];
    const QuantTypeInfo& info = *quant_type_info(s.parts[p].kind);
    part.format->dequantize(
        reinterpret_cast<const std::uint8_t*>(s.parts[p].bytes.bytes().data()) + row * part.row_bytes,
        s.kernels.in_features / info.block_elements, view->data + i * view->row_stride);
  }
  return {};
}

Explanation CpuBackend::explain(const QuantStore& store, std::uint64_t m) const {
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
    const cpu::KernelDescription d = s.kernels.parts[i].product->describe(std::max<std::size_t>(plan.columns, 1));
    PartExplanation part;
    part.kind = s.parts[i].kind;
    part.rows = s.parts[i].rows;
    part.requested = s.precision;
    const cpu::ActivationSpec& spec = plan.specs[plan.spec_of_part[i]];
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
}

Result<MemoryUse> CpuBackend::memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features, std::uint64_t m,
                                          const LoadOptions& options) const {
  return without_bad_alloc("memory_plan", [&]() -> Result<MemoryUse> {
    const Result<LayerKernels> kernels = impl_->kernels(parts, in_features, options);
    if (!kernels) return std::unexpected(kernels.error());
    MemoryUse use = store_use(parts);
    if (m != 0 && kernels->out_features != 0) {
      use.transient_bytes = cpu::plan_forward(*kernels, parts, m, impl_->executor->concurrency()).bytes;
    }
    return use;
  });
}

MemoryUse CpuBackend::ledger() const { return impl_->ledger->read(); }

CpuBackend::Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::Context::Context(Context&&) noexcept = default;
CpuBackend::Context& CpuBackend::Context::operator=(Context&&) noexcept = default;
CpuBackend::Context::~Context() = default;

CpuBackend::QuantStore::QuantStore(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::QuantStore::QuantStore(QuantStore&&) noexcept = default;
CpuBackend::QuantStore& CpuBackend::QuantStore::operator=(QuantStore&&) noexcept = default;
CpuBackend::QuantStore::~QuantStore() = default;
std::uint64_t CpuBackend::QuantStore::in_features() const noexcept { return impl_->kernels.in_features; }
std::uint64_t CpuBackend::QuantStore::out_features() const noexcept { return impl_->kernels.out_features; }
std::span<const QuantPart> CpuBackend::QuantStore::parts() const noexcept { return impl_->parts; }
Precision CpuBackend::QuantStore::precision() const noexcept { return impl_->precision; }

}  // namespace quantlinear
