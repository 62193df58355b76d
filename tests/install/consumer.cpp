// What a user of the installed library writes; built by both consumer projects. One row of Q8_0
// blocks (scale 2, weights 0 .. 31) times ones is 992.
#include <quantlinear/quantlinear.hpp>

#include <cstddef>
#include <cstdio>
#include <utility>
#include <vector>

int main() {
  namespace ql = quantlinear;
  std::vector<std::byte> block(34);
  block[1] = std::byte{0x40};  // the half 2.0, little-endian
  for (int i = 0; i < 32; ++i) block[static_cast<std::size_t>(2 + i)] = static_cast<std::byte>(i);

  const ql::CpuBackend cpu;
  auto layer = ql::QuantLinear<ql::CpuBackend>::from_gguf_bytes(
      cpu, ql::GgufQuantType::Q8_0, ql::QuantBytes::own(std::move(block)), 1, 32, {.precision = ql::Precision::f32});
  auto ctx = cpu.new_context();
  if (!layer || !ctx) return 1;
  const std::vector<float> x(32, 1.0f);
  std::vector<float> y(1);
  if (auto done = layer->forward(*ctx, x, y, 1); !done) {
    std::fprintf(stderr, "%s\n", done.error().message.c_str());
    return 1;
  }
  std::printf("%g on %s\n", static_cast<double>(y[0]), layer->explain(1).parts[0].instruction_set.c_str());
  return y[0] == 992.0f ? 0 : 1;
}
