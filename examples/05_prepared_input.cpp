// Gate and up as separate layers over the same input: the activations are quantised once and both
// layers read them. The bits are those of two forwards from the raw rows, which this program checks.
// (Where layers can be loaded together, 03_fused_layer is shorter and shares the work better.)
#include <quantlinear/quantlinear.hpp>

#include <cstdio>
#include <vector>

namespace ql = quantlinear;
using Layer = ql::QuantLinear<ql::CpuBackend>;

static ql::Status run(const char* path) {
  const ql::CpuBackend cpu;
  const auto file = ql::GgufFile::open(path);
  if (!file) return std::unexpected(file.error());
  const auto gate = Layer::from_gguf(cpu, *file, "blk.0.ffn_gate.weight");
  if (!gate) return std::unexpected(gate.error());
  const auto up = Layer::from_gguf(cpu, *file, "blk.0.ffn_up.weight");
  if (!up) return std::unexpected(up.error());
  auto ctx = cpu.new_context();
  if (!ctx) return std::unexpected(ctx.error());

  const std::uint64_t m = 4;
  std::vector<float> x(m * gate->in_features());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6.0f;

  // Both stores are named: a type may want its activations in a way of its own.
  const auto prepared = cpu.prepare(x, m, {&gate->store(), &up->store()});
  if (!prepared) return std::unexpected(prepared.error());
  for (const Layer* layer : {&*gate, &*up}) {
    std::vector<float> y(m * layer->out_features()), from_raw_rows(y.size());
    if (auto done = layer->forward(*ctx, *prepared, y); !done) return done;
    if (auto done = layer->forward(*ctx, x, from_raw_rows, m); !done) return done;
    if (y != from_raw_rows) return ql::fail(ql::ErrorCode::device, "the bits differ");
  }
  std::printf("%llu rows prepared once for two layers; %llu bytes of scratch and prepared activations\n",
              static_cast<unsigned long long>(prepared->rows()),
              static_cast<unsigned long long>(cpu.ledger().transient_bytes));
  return {};
}

int main(int argc, char** argv) {
  const ql::Status done =
      argc == 2 ? run(argv[1]) : ql::fail(ql::ErrorCode::invalid_argument, "usage: 05_prepared_input MODEL.gguf");
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done ? 0 : 1;
}
