// One projection of a model: load it, ask what will run, multiply, check it on this machine.
#include <quantlinear/quantlinear.hpp>

#include <cstdio>
#include <vector>

namespace ql = quantlinear;

static int run(const char* path, const char* tensor) {
  const ql::CpuBackend cpu;  // the best kernels that this machine runs, a thread on every CPU
  const auto fail = [](const ql::Error& error) {
    std::fprintf(stderr, "%s: %s\n", ql::to_string(error.code), error.message.c_str());
    return 1;
  };

  const auto file = ql::GgufFile::open(path);
  if (!file) return fail(file.error());
  const auto layer = ql::QuantLinear<ql::CpuBackend>::from_gguf(cpu, *file, tensor);
  if (!layer) return fail(layer.error());
  auto ctx = cpu.new_context();  // scratch memory: one per thread that calls forward
  if (!ctx) return fail(ctx.error());

  const std::uint64_t m = 4;  // rows of activations, e.g. tokens
  const std::vector<float> x(m * layer->in_features(), 0.5f);
  std::vector<float> y(m * layer->out_features());
  if (const auto done = layer->forward(*ctx, x, y, m); !done) return fail(done.error());
  std::printf("%s: [%llu, %llu] -> [%llu, %llu], first value %g\n", tensor, static_cast<unsigned long long>(m),
              static_cast<unsigned long long>(layer->in_features()), static_cast<unsigned long long>(m),
              static_cast<unsigned long long>(layer->out_features()), static_cast<double>(y[0]));

  const ql::Explanation how = layer->explain(m);
  std::printf("ran by %s: %s on %s, %s\n", how.backend.c_str(), how.parts[0].kernel.c_str(),
              how.parts[0].instruction_set.c_str(), how.parts[0].path.c_str());

  const auto report = layer->verify();  // against exact arithmetic, on these weights and this machine
  if (!report) return fail(report.error());
  for (const ql::VerifyResult& result : report->results) {
    std::printf("verified for m = %llu: NMSE %.2e, promised %.0e\n", static_cast<unsigned long long>(result.m),
                result.nmse, result.nmse_limit);
  }
  return report->passed ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: 02_one_layer MODEL.gguf [TENSOR]\n");
    return 2;
  }
  return run(argv[1], argc > 2 ? argv[2] : "blk.0.attn_q.weight");
}
