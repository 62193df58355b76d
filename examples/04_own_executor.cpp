// The caller owns the threads: an engine that has a pool of its own hands it to the backend as an
// Executor. This one starts a thread for every run, which shows the contract in the fewest lines.
#include <quantlinear/quantlinear.hpp>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

namespace ql = quantlinear;
using Layer = ql::QuantLinear<ql::CpuBackend>;

namespace {

class TwoThreads final : public ql::Executor {
 public:
  [[nodiscard]] std::size_t concurrency() const noexcept override { return 2; }

  void run(std::size_t count, ql::TaskRef task) noexcept override {
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
      for (std::size_t i = next++; i < count; i = next++) task(i);  // every index once
    };
    const std::jthread helper(work);
    work();
  }  // the helper is joined here: every task has returned
};

ql::Result<std::vector<float>> multiply(const ql::CpuOptions& options, const ql::GgufFile& file) {
  const ql::CpuBackend cpu(options);
  const auto layer = Layer::from_gguf(cpu, file, "blk.0.ffn_down.weight");
  if (!layer) return std::unexpected(layer.error());
  auto ctx = cpu.new_context();
  if (!ctx) return std::unexpected(ctx.error());
  const std::vector<float> x(layer->in_features(), 1.0f);
  std::vector<float> y(layer->out_features());
  if (const auto done = layer->forward(*ctx, x, y, 1); !done) return std::unexpected(done.error());
  return y;
}

}  // namespace

int main(int argc, char** argv) {
  const auto file = argc == 2 ? ql::GgufFile::open(argv[1])
                              : ql::fail(ql::ErrorCode::invalid_argument, "usage: 04_own_executor MODEL.gguf");
  if (!file) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());
    return 1;
  }
  const auto own = multiply({.executor = std::make_shared<TwoThreads>()}, *file);
  const auto pool = multiply({.threads = {.threads = 1}}, *file);
  const bool same = own && pool && *own == *pool;
  std::printf("own threads and a single one give %s\n", same ? "the same bits" : "different results");
  return same ? 0 : 1;
}
