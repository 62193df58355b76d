// What every backend promises through the public headers alone: results, views, refusals, lifetimes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "quantlinear/quantlinear.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;
constexpr float kUntouched = -7.25f;

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values) result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

QuantPart part(Kind kind, std::uint64_t rows, std::uint64_t columns, std::vector<float> bias = {}) {
  return {kind, QuantBytes::own(test::random_weights(kind, rows, columns, 3)), rows, std::move(bias)};
}

/// y [m, rows of all parts] by the definition: decoded weights, f64 sums.
std::vector<double> exact(std::span<const QuantPart> parts, std::uint64_t columns, std::span<const float> x,
                          std::uint64_t m) {
  std::vector<double> y;
  for (std::uint64_t i = 0; i < m; ++i) {
    for (const QuantPart& p : parts) {
      std::vector<float> w(p.rows * columns);
      EXPECT_TRUE(dequantize(p.kind, p.bytes.bytes(), w));
      for (std::uint64_t r = 0; r < p.rows; ++r) {
        double sum = p.bias.empty() ? 0.0 : static_cast<double>(p.bias[r]);
        for (std::uint64_t k = 0; k < columns; ++k)
          sum += static_cast<double>(w[r * columns + k]) * static_cast<double>(x[i * columns + k]);
        y.push_back(sum);
      }
    }
  }
  return y;
}

double nmse(std::span<const float> found, std::span<const double> expected) {
  EXPECT_EQ(found.size(), expected.size());
  double error = 0, power = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (static_cast<double>(found[i]) - expected[i]) * (static_cast<double>(found[i]) - expected[i]);
    power += expected[i] * expected[i];
  }
  return error / power;
}

template <class B>
B make() {
  return B();
}
template <>
AnyBackend make<AnyBackend>() {
  return AnyBackend(CpuBackend());
}

template <class B>
class Api : public testing::Test {
 protected:
  using Layer = QuantLinear<B>;
  using Buffer = typename B::Buffer;
  using Input = typename B::Input;
  using Output = typename B::Output;

  Buffer device(std::span<const float> values) {
    Buffer buffer = backend.allocate(values.size()).value();
    EXPECT_TRUE(backend.upload(values, buffer));
    return buffer;
  }
  std::vector<float> host(const Buffer& buffer, std::size_t count) {
    std::vector<float> values(count);
    EXPECT_TRUE(backend.download(ctx, buffer, values));
    return values;
  }
  Layer load(const QuantPart& p, std::uint64_t columns) {
    return Layer::from_gguf_bytes(backend, p.kind, p.bytes, p.rows, columns, {}, p.bias).value();
  }
  std::vector<float> forward(const Layer& layer, std::span<const float> x, std::uint64_t m) {
    const Buffer input = device(x);
    Buffer out = device(std::vector<float>(m * layer.out_features(), kUntouched));
    EXPECT_TRUE(layer.forward(ctx, input, out, m));
    EXPECT_TRUE(ctx.flush());
    return host(out, m * layer.out_features());
  }
  /// An invalid_argument whose message has all of `words`.
  template <class R>
  static void expect_refused(const R& result, std::initializer_list<const char*> words) {
    ASSERT_FALSE(result.has_value()) << "accepted, expected an error with " << *words.begin();
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument) << result.error().message;
    for (const char* word : words)
      EXPECT_NE(result.error().message.find(word), std::string::npos) << result.error().message << " lacks " << word;
  }

  B backend = make<B>();
  typename B::Context ctx = backend.new_context().value();
};

using Backends = testing::Types<ReferenceBackend, CpuBackend, AnyBackend>;
class Names {
 public:
  template <class B>
  static std::string GetName(int) {
    return std::is_same_v<B, ReferenceBackend> ? "Reference" : std::is_same_v<B, CpuBackend> ? "Cpu" : "Any";
  }
};
TYPED_TEST_SUITE(Api, Backends, Names);

TYPED_TEST(Api, BytesGiveTheProductPlusBias) {
  for (const Kind kind : {Kind::Q4_K, Kind::Q8_0, Kind::F16, Kind::IQ2_XS}) {
    const QuantPart p = part(kind, 21, 512, test::random_activations(21, 5));
    const auto x = test::random_activations(3 * 512, 7);
    const auto layer = this->load(p, 512);
    EXPECT_EQ(layer.in_features(), 512u);
    EXPECT_EQ(layer.out_features(), 21u);
    EXPECT_LE(nmse(this->forward(layer, x, 3), exact({&p, 1}, 512, x, 3)), 1e-4) << to_string(kind);
  }
}

TYPED_TEST(Api, FusedPartsStandSideBySideEachWithItsBias) {
  const std::vector<QuantPart> parts = {part(Kind::Q4_K, 7, 256, test::random_activations(7, 1)),
                                        part(Kind::Q6_K, 18, 256), part(Kind::Q8_0, 0, 256),
                                        part(Kind::F32, 3, 256, {100.0f, 200.0f, 300.0f})};
  const auto x = test::random_activations(2 * 256, 9);
  const auto fused = TestFixture::Layer::from_gguf_fused(this->backend, parts, 256).value();
  ASSERT_EQ(fused.out_features(), 28u);
  ASSERT_EQ(fused.store().parts().size(), 4u);
  const std::vector<float> y = this->forward(fused, x, 2);
  EXPECT_LE(nmse(y, exact(parts, 256, x, 2)), 1e-4);
  std::size_t column = 0;
  for (const QuantPart& p : parts) {
    const std::vector<float> alone = this->forward(this->load(p, 256), x, 2);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(bits(std::span(y).subspan(i * 28 + column, p.rows)),
                bits(std::span(alone).subspan(i * p.rows, p.rows)));
    }
    column += p.rows;
  }
}

TYPED_TEST(Api, FromStoreChecksTheDimensions) {
  const QuantPart p = part(Kind::Q4_0, 6, 64);
  const auto store = [&] { return this->backend.load_quant(p, 64).value(); };
  EXPECT_TRUE(TestFixture::Layer::from_store(this->backend, store(), 6, 64));
  this->expect_refused(TestFixture::Layer::from_store(this->backend, store(), 7, 64),
                       {"from_store", "6 x 64", "7 x 64"});
  this->expect_refused(TestFixture::Layer::from_store(this->backend, store(), 6, 32),
                       {"from_store", "6 x 64", "6 x 32"});
  this->expect_refused(TestFixture::Layer::from_store(this->backend, store(), 64, 6), {"64 x 6"});
}

TYPED_TEST(Api, StridedViewsTouchOnlyTheirColumns) {
  const QuantPart p = part(Kind::Q5_K, 19, 256, test::random_activations(19, 2));
  const auto layer = this->load(p, 256);
  const std::size_t m = 4, in_stride = 300, out_stride = 50, in_at = 11, out_at = 13;
  const auto x = test::random_activations(m * 256, 4);
  std::vector<float> wide(in_at + m * in_stride, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < m; ++i)
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(i * 256), 256,
                wide.begin() + static_cast<std::ptrdiff_t>(in_at + i * in_stride));
  const auto input = this->device(wide);
  // The buffer ends right after the last value of the last row.
  const std::size_t size = out_at + (m - 1) * out_stride + 19;
  auto out = this->device(std::vector<float>(size, kUntouched));
  ASSERT_TRUE(layer.forward(this->ctx, {input, in_at, in_stride}, {out, out_at, out_stride}, m));
  std::vector<float> expected(size, kUntouched);
  const std::vector<float> dense = this->forward(layer, x, m);
  for (std::size_t i = 0; i < m; ++i)
    std::copy_n(dense.begin() + static_cast<std::ptrdiff_t>(i * 19), 19,
                expected.begin() + static_cast<std::ptrdiff_t>(out_at + i * out_stride));
  EXPECT_EQ(bits(this->host(out, size)), bits(expected));
}

TYPED_TEST(Api, NothingToDoSucceeds) {
  const auto layer = this->load(part(Kind::Q4_K, 5, 256), 256);
  const auto none = this->device({});
  auto out = this->device({});
  EXPECT_TRUE(layer.forward(this->ctx, none, out, 0));
  auto kept = this->device(std::vector<float>(5, kUntouched));
  EXPECT_TRUE(layer.forward(this->ctx, {none, 9, 1}, {kept, 0, 1}, 0)) << "m == 0 does nothing whatever the views";
  EXPECT_EQ(this->host(kept, 5), std::vector<float>(5, kUntouched));
  EXPECT_TRUE(layer.get_rows(this->ctx, {}, out));

  const auto no_rows = this->load(part(Kind::Q4_K, 0, 256), 256);
  const auto x = this->device(std::vector<float>(2 * 256));
  EXPECT_EQ(no_rows.out_features(), 0u);
  EXPECT_TRUE(no_rows.forward(this->ctx, x, kept, 2));
  EXPECT_EQ(this->host(kept, 5), std::vector<float>(5, kUntouched));

  const auto no_columns = this->load({Kind::Q4_K, {}, 3, {1.0f, 2.0f, -3.0f}}, 0);
  EXPECT_EQ(this->forward(no_columns, {}, 2), (std::vector<float>{1, 2, -3, 1, 2, -3}));
  EXPECT_EQ(this->forward(this->load({Kind::F32, {}, 2, {}}, 0), {}, 1), (std::vector<float>{0, 0}));
}

TYPED_TEST(Api, WrongLoadsAreRefused) {
  const std::vector<std::byte> one = test::random_weights(Kind::Q4_K, 4, 256, 1);
  const std::vector<float> bias(5);
  const auto load = [&](Kind kind, std::size_t size, std::uint64_t rows, std::uint64_t columns,
                        std::span<const float> b = {}) {
    std::vector<std::byte> bytes(size);
    return TestFixture::Layer::from_gguf_bytes(this->backend, kind, QuantBytes::own(bytes), rows, columns, {}, b);
  };
  ASSERT_TRUE(load(Kind::Q4_K, 576, 4, 256));
  this->expect_refused(load(static_cast<Kind>(999), 576, 4, 256), {"kind", "999"});
  this->expect_refused(load(Kind::Q4_K, 575, 4, 256), {"bytes", "575", "576"});
  this->expect_refused(load(Kind::Q4_K, 577, 4, 256), {"bytes", "577", "576"});
  this->expect_refused(load(Kind::Q4_K, 0, 4, 256), {"bytes", "found 0", "576"});
  this->expect_refused(load(Kind::Q4_K, 576, 5, 256), {"bytes", "576", "720"});
  this->expect_refused(load(Kind::Q4_K, 576, 4, 255), {"in_features", "255", "256"});
  this->expect_refused(load(Kind::Q4_K, 576, 4, 256, bias), {"bias", "found 5", "4"});
  this->expect_refused(load(Kind::Q4_K, 576, 4, 256, std::span(bias).first(3)), {"bias", "found 3", "4"});
  const std::uint64_t huge = std::uint64_t{1} << 62;
  this->expect_refused(load(Kind::F32, 0, huge, huge), {"F32", std::to_string(huge).c_str(), "overflow"});
  this->expect_refused(load(Kind::F32, 0, 1, huge), {"in_features", std::to_string(huge).c_str(), "overflow"});

  std::vector<QuantPart> parts = {part(Kind::Q4_K, 4, 256), part(Kind::Q8_0, 4, 256)};
  parts[1].rows = 3;
  this->expect_refused(TestFixture::Layer::from_gguf_fused(this->backend, parts, 256),
                       {"part 1", "bytes", "1088", "816"});
  this->expect_refused(TestFixture::Layer::from_gguf_fused(this->backend, {}, 256), {"parts", "empty"});
  const std::vector<QuantPart> endless(3, QuantPart{Kind::F32, {}, std::uint64_t{1} << 60, {}});
  this->expect_refused(TestFixture::Layer::from_gguf_fused(this->backend, endless, 0), {"part", "rows", "overflow"});
  EXPECT_FALSE(this->backend.memory_plan({}, 256, 1));
}

TYPED_TEST(Api, WrongForwardsAreRefusedAndWriteNothing) {
  const auto layer = this->load(part(Kind::Q8_0, 8, 64, std::vector<float>(8, 1.0f)), 64);
  const auto x = this->device(test::random_activations(3 * 64, 1));
  // Input and output also come from one buffer: [0, 192) would be the input, the rest the output.
  auto both = this->device(std::vector<float>(400, kUntouched));
  auto out = this->device(std::vector<float>(24, kUntouched));
  const auto& l = layer;
  ASSERT_TRUE(l.forward(this->ctx, both, {both, 192}, 3)) << "side by side is no overlap";
  EXPECT_TRUE(this->backend.upload(std::vector<float>(400, kUntouched), both));
  this->expect_refused(l.forward(this->ctx, x, out, 4), {"input", "192", "256"});
  this->expect_refused(l.forward(this->ctx, {x, 1}, out, 3), {"input", "191", "192"});
  this->expect_refused(l.forward(this->ctx, {x, 1000}, out, 1), {"input", "holds 0", "64"});
  this->expect_refused(l.forward(this->ctx, {x, 0, 63}, out, 3), {"input", "stride 63", "64"});
  this->expect_refused(l.forward(this->ctx, {x, 0, 65}, out, 3), {"input", "192", "194"});
  this->expect_refused(l.forward(this->ctx, x, {out, 1}, 3), {"out", "23", "24"});
  this->expect_refused(l.forward(this->ctx, x, {out, 0, 7}, 3), {"out", "stride 7", "8"});
  this->expect_refused(l.forward(this->ctx, x, {out, 0, 9}, 3), {"out", "24", "26"});
  this->expect_refused(l.forward(this->ctx, x, out, std::uint64_t{1} << 62), {"input", "overflow"});
  this->expect_refused(l.forward(this->ctx, {x, 0, std::uint64_t{1} << 63}, out, 3), {"input", "overflow"});
  this->expect_refused(l.forward(this->ctx, both, {both, 191}, 3), {"out", "overlaps input"});
  this->expect_refused(l.forward(this->ctx, {both, 23}, {both, 0}, 3), {"out", "overlaps input"});
  EXPECT_TRUE(this->ctx.flush());
  EXPECT_EQ(bits(this->host(out, 24)), bits(std::vector<float>(24, kUntouched)));
  EXPECT_EQ(bits(this->host(both, 400)), bits(std::vector<float>(400, kUntouched)));

  std::vector<float> big(25);
  this->expect_refused(this->backend.upload(big, out), {"upload", "24", "25"});
  this->expect_refused(this->backend.download(this->ctx, out, big), {"download", "24", "25"});
  EXPECT_EQ(bits(this->host(out, 24)), bits(std::vector<float>(24, kUntouched)));
  const auto endless = this->backend.allocate(std::numeric_limits<std::uint64_t>::max());
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().code, ErrorCode::out_of_memory);
}

TYPED_TEST(Api, ARowThatIsNotFiniteSpoilsItselfAlone) {
  const std::vector<QuantPart> parts = {part(Kind::Q4_K, 9, 512), part(Kind::F32, 4, 512), part(Kind::Q4_0, 3, 512)};
  const auto layer = TestFixture::Layer::from_gguf_fused(this->backend, parts, 512).value();
  const auto x = test::random_activations(6 * 512, 8);
  const std::vector<float> good = this->forward(layer, x, 6);
  auto spoilt = x;
  spoilt[1 * 512 + 17] = std::numeric_limits<float>::quiet_NaN();
  spoilt[3 * 512 + 511] = std::numeric_limits<float>::infinity();
  spoilt[4 * 512] = -std::numeric_limits<float>::infinity();
  const std::vector<float> y = this->forward(layer, spoilt, 6);
  for (std::size_t i = 0; i < 6; ++i) {
    const auto row = std::span(y).subspan(i * 16, 16);
    if (i == 1 || i == 3 || i == 4) {
      for (const float v : row) EXPECT_TRUE(std::isnan(v)) << "row " << i << " has " << v;
    } else {
      EXPECT_EQ(bits(row), bits(std::span(good).subspan(i * 16, 16))) << "row " << i;
    }
  }
}

TYPED_TEST(Api, AWeightScaleThatIsNotFiniteSpoilsItsOutputAlone) {
  for (const Kind kind : {Kind::Q4_K, Kind::Q8_0}) {
    const QuantPart good = part(kind, 11, 512);
    const auto x = test::random_activations(5 * 512, 6);
    const std::vector<float> expected = this->forward(this->load(good, 512), x, 5);
    for (const int high : {0x7e, 0x7c, 0xfc}) {  // NaN, inf, -inf as IEEE half; d comes first in the block
      std::vector<std::byte> bytes(good.bytes.bytes().begin(), good.bytes.bytes().end());
      bytes[bytes.size() / 11 * 6] = std::byte{0};
      bytes[bytes.size() / 11 * 6 + 1] = static_cast<std::byte>(high);
      const std::vector<float> y = this->forward(this->load({kind, QuantBytes::own(bytes), 11, {}}, 512), x, 5);
      for (std::size_t i = 0; i < y.size(); ++i) {
        if (i % 11 == 6) {
          EXPECT_FALSE(std::isfinite(y[i])) << y[i];
        } else {
          EXPECT_EQ(bits({&y[i], 1}), bits({&expected[i], 1})) << "value " << i;
        }
      }
    }
  }
}

TYPED_TEST(Api, RowsAreThoseOfDequantize) {
  const Kind kinds[] = {Kind::Q4_K, Kind::F16, Kind::Q6_K, Kind::IQ3_S, Kind::MXFP4, Kind::Q8_0};
  std::vector<QuantPart> parts;
  std::vector<float> all;
  for (const Kind kind : kinds) {
    const std::uint64_t rows = 3 + parts.size();
    parts.push_back(part(kind, rows, 256, std::vector<float>(rows, 1e6f)));  // the bias is no part of a row
    std::vector<float> w(rows * 256);
    ASSERT_TRUE(dequantize(kind, parts.back().bytes.bytes(), w));
    all.insert(all.end(), w.begin(), w.end());
  }
  parts.insert(parts.begin() + 2, part(Kind::Q4_0, 0, 256));
  const auto layer = TestFixture::Layer::from_gguf_fused(this->backend, parts, 256).value();
  std::vector<std::uint64_t> ids(layer.out_features());
  std::iota(ids.rbegin(), ids.rend(), std::uint64_t{0});
  ids.push_back(5);
  ids.push_back(5);
  auto out = this->device(std::vector<float>(ids.size() * 300, kUntouched));
  ASSERT_TRUE(layer.get_rows(this->ctx, ids, {out, 0, 300}));
  const std::vector<float> rows = this->host(out, ids.size() * 300);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(bits(std::span(rows).subspan(i * 300, 256)), bits(std::span(all).subspan(ids[i] * 256, 256)))
        << "row " << ids[i];
    EXPECT_EQ(bits(std::span(rows).subspan(i * 300 + 256, 44)), bits(std::vector<float>(44, kUntouched)));
  }

  const auto refused = [&](std::initializer_list<std::uint64_t> bad, std::uint64_t stride,
                           std::initializer_list<const char*> words) {
    auto kept = this->device(std::vector<float>(512, kUntouched));
    const std::vector<std::uint64_t> list(bad);
    this->expect_refused(layer.get_rows(this->ctx, list, {kept, 0, stride}), words);
    EXPECT_EQ(bits(this->host(kept, 512)), bits(std::vector<float>(512, kUntouched)));
  };
  refused({0, 33}, 0, {"row_ids[1]", "found 33", "less than 33"});
  refused({std::numeric_limits<std::uint64_t>::max()}, 0, {"row_ids[0]"});
  refused({0, 1, 2}, 0, {"out", "512", "768"});
  refused({0, 1}, 255, {"out", "stride 255", "256"});
}

TYPED_TEST(Api, MovedLayersWork) {
  const auto x = test::random_activations(256, 3);
  auto first = this->load(part(Kind::Q3_K, 9, 256), 256);
  const std::vector<float> expected = this->forward(first, x, 1);
  auto second = std::move(first);
  EXPECT_EQ(bits(this->forward(second, x, 1)), bits(expected));
  auto other = this->load(part(Kind::F32, 2, 256), 256);
  other = std::move(second);
  EXPECT_EQ(bits(this->forward(other, x, 1)), bits(expected));
  const Linear<TypeParam>& base = other;
  EXPECT_EQ(base.out_features(), 9u);
  EXPECT_EQ(base.in_features(), 256u);
}

TYPED_TEST(Api, ALayerKeepsWhatItNeeds) {
  const auto x = test::random_activations(2 * 256, 3);
  std::vector<std::byte> bytes = test::random_weights(Kind::Q2_K, 5, 256, 3);
  const std::vector<float> expected =
      this->forward(this->load({Kind::Q2_K, QuantBytes::borrow(bytes), 5, {}}, 256), x, 2);
  std::weak_ptr<const std::vector<std::byte>> watch;
  std::optional<typename TestFixture::Layer> shared, owned;
  {
    const TypeParam short_lived = make<TypeParam>();
    auto keeper = std::make_shared<const std::vector<std::byte>>(bytes);
    watch = keeper;
    QuantBytes view = QuantBytes::share(*keeper, keeper, false);
    shared = TestFixture::Layer::from_gguf_bytes(short_lived, Kind::Q2_K, std::move(view), 5, 256).value();
    owned = TestFixture::Layer::from_gguf_bytes(short_lived, Kind::Q2_K, QuantBytes::own(bytes), 5, 256).value();
    std::ranges::fill(bytes, std::byte{0xff});
  }
  for (const auto* layer : {&*shared, &*owned}) {
    this->backend = layer->backend();  // the only handle left of the backend that made the layer
    this->ctx = this->backend.new_context().value();
    EXPECT_EQ(bits(this->forward(*layer, x, 2)), bits(expected));
    EXPECT_TRUE(layer->verify().value().passed);
  }
  EXPECT_FALSE(watch.expired()) << "the layer shares the bytes' owner";
  shared.reset();
  EXPECT_TRUE(watch.expired()) << "and lets it go";
}

}  // namespace
}  // namespace quantlinear
