// Layers from an open file by tensor name: one, several, with bias, and after everything else is gone.
#include <gtest/gtest.h>

#include <bit>
#include <optional>

#include "quantlinear/quantlinear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
using Layer = QuantLinear<CpuBackend>;

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values) result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

std::vector<std::byte> bytes_of(std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

struct Tensor {
  const char* name;
  std::uint32_t type_id;
  std::vector<std::uint64_t> dims;
  std::vector<std::byte> bytes;
};

std::uint32_t id(Kind kind) { return static_cast<std::uint32_t>(kind); }

/// A file of these tensors, in memory.
GgufFile file_of(const std::vector<Tensor>& tensors) {
  GgufWriter writer;
  for (const Tensor& t : tensors)
    EXPECT_TRUE(writer.add_tensor(t.name, t.type_id, t.dims, QuantBytes::own(t.bytes))) << t.name;
  return GgufFile::parse(writer.serialize().value(), "test").value();
}

class FromGguf : public testing::Test {
 protected:
  const std::vector<std::byte> q = test::random_weights(Kind::Q4_K, 6, 256, 1),
                               k = test::random_weights(Kind::Q6_K, 3, 256, 2),
                               experts = test::random_weights(Kind::Q8_0, 10, 256, 3);
  const std::vector<float> q_bias = test::random_activations(6, 4), x = test::random_activations(2 * 256, 5);
  const CpuBackend cpu;
  CpuBackend::Context ctx = cpu.new_context().value();

  [[nodiscard]] std::vector<Tensor> tensors() const {
    return {{"q.weight", id(Kind::Q4_K), {256, 6}, q},
            {"q.bias", id(Kind::F32), {6}, bytes_of(q_bias)},
            {"k.weight", id(Kind::Q6_K), {256, 3}, k},
            {"experts", id(Kind::Q8_0), {256, 5, 2}, experts}};
  }
  std::vector<float> forward(const Layer& layer) {
    std::vector<float> y(2 * layer.out_features());
    EXPECT_TRUE(layer.forward(ctx, x, y, 2));
    return y;
  }
  static void expect_error(const Result<Layer>& result, ErrorCode code, std::initializer_list<const char*> words) {
    ASSERT_FALSE(result) << "accepted, expected an error with " << *words.begin();
    EXPECT_EQ(result.error().code, code) << result.error().message;
    for (const char* word : words)
      EXPECT_NE(result.error().message.find(word), std::string::npos) << result.error().message << " lacks " << word;
  }
};

TEST_F(FromGguf, OneTensorBringsItsBias) {
  const GgufFile file = file_of(tensors());
  const auto expected = Layer::from_gguf_bytes(cpu, Kind::Q4_K, QuantBytes::borrow(q), 6, 256, {}, q_bias).value();
  const auto found = Layer::from_gguf(cpu, file, "q.weight").value();
  EXPECT_EQ(bits(forward(found)), bits(forward(expected)));
  const auto without = Layer::from_gguf_bytes(cpu, Kind::Q4_K, QuantBytes::borrow(q), 6, 256).value();
  EXPECT_NE(bits(forward(found)), bits(forward(without)));
}

TEST_F(FromGguf, ABiasMayBeOfAnyFloatType) {
  auto list = tensors();
  const std::vector<float> halves = {0, 1, -1, 0.5f, 2, -4};  // exact in BF16: the upper half of the f32
  std::vector<std::byte> bf16;
  for (const std::uint32_t b : bits(halves))
    bf16.insert(bf16.end(), {static_cast<std::byte>(b >> 16), static_cast<std::byte>(b >> 24)});
  list[1] = {"q.bias", id(Kind::BF16), {6}, bf16};
  const auto expected = Layer::from_gguf_bytes(cpu, Kind::Q4_K, QuantBytes::borrow(q), 6, 256, {}, halves).value();
  EXPECT_EQ(bits(forward(Layer::from_gguf(cpu, file_of(list), "q.weight").value())), bits(forward(expected)));
}

TEST_F(FromGguf, SeveralTensorsAreOneFusedLayer) {
  const GgufFile file = file_of(tensors());
  const auto fused = Layer::from_gguf(cpu, file, {"k.weight", "experts", "q.weight"}).value();
  ASSERT_EQ(fused.out_features(), 3u + 10u + 6u);
  const std::vector<QuantPart> parts = {{Kind::Q6_K, QuantBytes::borrow(k), 3},
                                        {Kind::Q8_0, QuantBytes::borrow(experts), 10},
                                        {Kind::Q4_K, QuantBytes::borrow(q), 6, q_bias}};
  EXPECT_EQ(bits(forward(fused)), bits(forward(Layer::from_gguf_fused(cpu, parts, 256).value())));
  const std::vector<std::string_view> names = {"k.weight", "experts", "q.weight"};
  EXPECT_EQ(bits(forward(Layer::from_gguf(cpu, file, std::span<const std::string_view>(names)).value())),
            bits(forward(fused)));
}

TEST_F(FromGguf, TheLayerOutlivesFileAndBackendHandle) {
  std::optional<Layer> layer;
  std::vector<float> expected;
  {
    const CpuBackend short_lived;
    const GgufFile file = file_of(tensors());
    expected = forward(Layer::from_gguf(short_lived, file, {"q.weight", "k.weight"}).value());
    layer = Layer::from_gguf(short_lived, file, {"q.weight", "k.weight"}).value();
  }
  EXPECT_EQ(bits(forward(*layer)), bits(expected));
  EXPECT_TRUE(layer->verify().value().passed);
}

TEST_F(FromGguf, WrongNamesAndShapesAreErrors) {
  auto list = tensors();
  list.push_back({"ids", 26, {256, 2}, std::vector<std::byte>(2 * 256 * 4)});  // I32: no weight type
  list.push_back({"short", id(Kind::Q8_0), {32, 2}, test::random_weights(Kind::Q8_0, 2, 32, 1)});
  list.push_back({"a.weight", id(Kind::Q8_0), {32, 2}, test::random_weights(Kind::Q8_0, 2, 32, 1)});
  list.push_back({"a.bias", id(Kind::F32), {3}, std::vector<std::byte>(12)});
  list.push_back({"b.weight", id(Kind::Q8_0), {32, 2}, test::random_weights(Kind::Q8_0, 2, 32, 1)});
  list.push_back({"b.bias", 26, {2}, std::vector<std::byte>(8)});
  list.push_back({"c.weight", id(Kind::Q8_0), {32, 2}, test::random_weights(Kind::Q8_0, 2, 32, 1)});
  list.push_back({"c.bias", id(Kind::F32), {2, 2}, std::vector<std::byte>(16)});
  list.push_back({"a\n\x1b[2J\xff", 26, {256, 2}, std::vector<std::byte>(2 * 256 * 4)});
  const GgufFile file = file_of(list);
  const auto load = [&](std::initializer_list<std::string_view> names) { return Layer::from_gguf(cpu, file, names); };
  expect_error(Layer::from_gguf(cpu, file, "q.weights"), ErrorCode::not_found, {"q.weights", "q.weight"});
  expect_error(load({"q.weight", "nowhere"}), ErrorCode::not_found, {"nowhere"});
  expect_error(load({}), ErrorCode::invalid_argument, {"tensors", "empty"});
  expect_error(load({"q.weight", "short"}), ErrorCode::invalid_argument, {"short", "32", "256", "q.weight"});
  expect_error(load({"a.weight"}), ErrorCode::invalid_argument, {"a.bias", "[3]", "[2]"});
  expect_error(load({"b.weight"}), ErrorCode::invalid_argument, {"b.bias", "I32"});
  expect_error(load({"c.weight"}), ErrorCode::invalid_argument, {"c.bias"});
  expect_error(load({"ids"}), ErrorCode::invalid_argument, {"ids", "I32", "weight type"});
  expect_error(load({"a\n\x1b[2J\xff"}), ErrorCode::invalid_argument, {R"(a\x0a\x1b[2J\xff: found)"});
}

}  // namespace
}  // namespace quantlinear
