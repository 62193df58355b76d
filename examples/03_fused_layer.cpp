// The q, k and v projections of a block as one layer: the activations are prepared once, every part
// keeps its own type and bytes, and the results stand side by side. The bits are those of three
// separate layers, which this program checks by writing k alone into the middle of a wider matrix.
#include <quantlinear/quantlinear.hpp>

#include <algorithm>
#include <cstdio>
#include <span>
#include <vector>

namespace ql = quantlinear;
using Layer = ql::QuantLinear<ql::CpuBackend>;

static ql::Status run(const char* path) {
  const ql::CpuBackend cpu;
  const auto file = ql::GgufFile::open(path);
  if (!file) return std::unexpected(file.error());
  const auto qkv = Layer::from_gguf(cpu, *file, {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"});
  if (!qkv) return std::unexpected(qkv.error());
  const auto k = Layer::from_gguf(cpu, *file, "blk.0.attn_k.weight");
  if (!k) return std::unexpected(k.error());
  auto ctx = cpu.new_context();
  if (!ctx) return std::unexpected(ctx.error());

  const std::uint64_t m = 3;
  const std::size_t width = qkv->out_features();
  std::vector<float> x(m * qkv->in_features());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8.0f;
  std::vector<float> fused(m * width);
  if (auto done = qkv->forward(*ctx, x, fused, m); !done) return done;

  // A column range of a wider matrix: the span from its first column on, and the width as row stride.
  std::vector<float> wide(m * width);
  const std::size_t first = qkv->store().parts()[0].rows;
  if (auto done = k->forward(*ctx, x, {std::span(wide).subspan(first), width}, m); !done) return done;

  for (std::uint64_t row = 0; row < m; ++row) {
    const auto columns = [&](const std::vector<float>& y) {
      return std::span(y).subspan(row * width + first, k->out_features());
    };
    if (!std::ranges::equal(columns(fused), columns(wide))) return ql::fail(ql::ErrorCode::device, "the bits differ");
  }
  for (const ql::PartExplanation& part : qkv->explain(m).parts) {
    std::printf("%-6s %6llu columns, %s\n", ql::to_string(part.kind).data(), static_cast<unsigned long long>(part.rows),
                part.path.c_str());
  }
  return {};
}

int main(int argc, char** argv) {
  const ql::Status done =
      argc == 2 ? run(argv[1]) : ql::fail(ql::ErrorCode::invalid_argument, "usage: 03_fused_layer MODEL.gguf");
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done ? 0 : 1;
}
