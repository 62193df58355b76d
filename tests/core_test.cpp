// The small parts that all backends share: host memory, names, argument checks, biases from files, and what
// is left of an object that was moved from.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/checks.hpp"
#include "core/huge_pages.hpp"
#include "quantlinear/any_backend.hpp"
#include "quantlinear/gguf_parts.hpp"
#include "quantlinear/gguf_writer.hpp"
#include "quantlinear/linear.hpp"
#include "quantlinear/reference_backend.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using Kind = GgufQuantType;

QuantPart part(Kind kind, std::uint64_t rows, std::uint64_t columns) {
  return {kind, QuantBytes::own(test::random_weights(kind, rows, columns, 3)), rows, {}};
}

TEST(HostBuffer, IsAlignedAndZero) {
  for (const std::uint64_t count : {1u, 15u, 16u, 17u, 1000u}) {
    auto buffer = HostBuffer::allocate(count).value();
    ASSERT_EQ(buffer.size(), count);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.span().data()) % 64, 0u);
    for (const float v : buffer.span()) EXPECT_EQ(v, 0.0f);
  }
  EXPECT_TRUE(HostBuffer::allocate(0).value().span().empty());
}

TEST(HugePages, MemoryBeginsAtOneAndCanBeUsedWhole) {
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65}, kHugePage - 1, kHugePage,
                                 kHugePage + 1, 5 * kHugePage - 100, 16 * kHugePage + 1}) {
    const std::shared_ptr<std::byte> memory = detail::allocate_in_huge_pages(size);
    ASSERT_NE(memory, nullptr) << size;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % (size < kHugePage ? 64 : kHugePage), 0u) << size;
    std::fill_n(memory.get(), size, std::byte{7});
    EXPECT_EQ(std::count(memory.get(), memory.get() + size, std::byte{7}), size);
  }
}

TEST(HugePages, ImpossibleSizesAreNull) {
  for (const std::size_t less : {std::size_t{0}, std::size_t{1} << 20, std::size_t{1} << 21, std::size_t{1} << 40}) {
    EXPECT_EQ(detail::allocate_in_huge_pages(std::numeric_limits<std::size_t>::max() - less), nullptr) << less;
  }
}

TEST(QuantBytes, ACopyHasTheBytesAndIsApart) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{18}, (std::size_t{3} << 20) + 5}) {
    std::vector<std::byte> source(size);
    for (std::size_t i = 0; i < size; ++i) source[i] = static_cast<std::byte>(i * 31);
    const QuantBytes copy = QuantBytes::copy(source).value();
    const std::vector<std::byte> before = source;
    std::ranges::fill(source, std::byte{1});
    EXPECT_EQ(copy.residence(), QuantBytes::Residence::owned);
    EXPECT_TRUE(std::ranges::equal(copy.bytes(), before)) << size;
  }
}

TEST(HostBuffer, HoldsNothingOnceMovedFrom) {
  const ReferenceBackend backend;
  auto first = HostBuffer::allocate(8).value();
  auto second = std::move(first);
  EXPECT_EQ(first.size(), 0u);  // NOLINT: the state after the move is what is tested
  EXPECT_TRUE(first.span().empty());
  EXPECT_FALSE(backend.upload(std::vector<float>(1), first));
  first = std::move(second);
  EXPECT_EQ(first.size(), 8u);
  EXPECT_EQ(second.size(), 0u);
}

TEST(HostBuffer, ImpossibleSizesAreErrors) {
  for (const int power : {61, 62, 63}) {
    const std::uint64_t count = std::uint64_t{1} << power;
    const auto buffer = HostBuffer::allocate(count);
    ASSERT_FALSE(buffer) << "2^" << power;
    EXPECT_EQ(buffer.error().code, ErrorCode::out_of_memory);
    EXPECT_NE(buffer.error().message.find(std::to_string(count)), std::string::npos);
  }
}

TEST(Precision, NamesGoBothWays) {
  for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
    EXPECT_EQ(precision_from_name(to_string(precision)), precision);
  }
  EXPECT_EQ(to_string(Precision::a16), "a16");
  for (const char* name : {"", "F32", "a4", "a8 "}) EXPECT_FALSE(precision_from_name(name)) << name;
  EXPECT_EQ(to_string(static_cast<Precision>(77)), "unknown");
}

TEST(Checks, FillInDenseStrides) {
  const std::vector<float> x(3 * 5);
  std::vector<float> y(3 * 7);
  const auto views = detail::check_views(x, y, 3, 5, 7).value();
  EXPECT_EQ(views.input.row_stride, 5u);
  EXPECT_EQ(views.out.row_stride, 7u);
  const auto kept = detail::check_views({x, 6}, {y, 9}, 2, 5, 7).value();
  EXPECT_EQ(kept.input.row_stride, 6u);
  EXPECT_EQ(kept.out.row_stride, 9u);
}

TEST(Checks, SizesNeverWrapAround) {
  // Every product or sum of these passes some power of two on its way.
  const std::uint64_t sizes[] = {1,
                                 3,
                                 std::uint64_t{1} << 31,
                                 (std::uint64_t{1} << 32) + 1,
                                 std::uint64_t{1} << 61,
                                 std::uint64_t{1} << 63,
                                 std::numeric_limits<std::uint64_t>::max()};
  const std::vector<float> x(16);
  std::vector<float> y(16);
  for (const std::uint64_t m : sizes) {
    for (const std::uint64_t columns : sizes) {
      for (const std::uint64_t stride : sizes) {
        const bool fits = columns <= stride && columns <= 3 && (m == 1 || (m == 3 && stride <= 3));
        EXPECT_EQ(detail::check_views({x, stride}, y, m, columns, 1).has_value(), fits)
            << m << " rows of " << columns << ", stride " << stride;
        EXPECT_EQ(detail::check_views(x, {y, stride}, m, 1, columns).has_value(), fits)
            << m << " rows of " << columns << ", stride " << stride;
      }
    }
  }
}

/// A file of a stacked expert weight [256, 4, 3] and a bias of these dimensions.
Result<GgufParts> stacked_with_bias(Kind kind, std::vector<std::uint64_t> dims) {
  std::uint64_t values = 1;
  for (const std::uint64_t dim : dims) values *= dim;
  const std::uint64_t shape[] = {256, 4, 3};
  GgufWriter writer;
  EXPECT_TRUE(writer.add_tensor("up.weight", Kind::Q8_0, shape, part(Kind::Q8_0, 12, 256).bytes));
  const std::vector<std::byte> zeros(matrix_bytes(kind, 1, values).value());
  EXPECT_TRUE(writer.add_tensor("up.bias", kind, dims, zeros));
  const GgufFile file = GgufFile::parse(writer.serialize().value(), "stacked").value();
  const std::string_view name = "up.weight";
  return gguf_parts(file, {&name, 1});
}

TEST(GgufParts, StackedExpertsBringTheirBias) {
  for (const Kind kind : {Kind::F32, Kind::F16, Kind::BF16}) {
    for (const std::vector<std::uint64_t>& dims : {std::vector<std::uint64_t>{12}, {4, 3}, {12, 1, 1}}) {
      const auto parts = stacked_with_bias(kind, dims);
      ASSERT_TRUE(parts) << parts.error().message;
      EXPECT_EQ(parts->in_features, 256u);
      EXPECT_EQ(parts->parts.at(0).rows, 12u);
      EXPECT_EQ(parts->parts.at(0).bias, std::vector<float>(12));
    }
  }
  for (const std::vector<std::uint64_t>& dims : {std::vector<std::uint64_t>{11}, {3, 4}, {1, 12}, {4, 3, 2}}) {
    const auto parts = stacked_with_bias(Kind::F32, dims);
    ASSERT_FALSE(parts);
    EXPECT_EQ(parts.error().code, ErrorCode::invalid_argument);
    for (const char* word : {"up.bias", "up.weight", "F32 [", "12"}) {
      EXPECT_NE(parts.error().message.find(word), std::string::npos) << parts.error().message << " lacks " << word;
    }
  }
  EXPECT_FALSE(stacked_with_bias(Kind::Q8_0, {32}));
}

TEST(ReferenceBackend, AMovedFromStoreIsEmptyAndRefused) {
  const ReferenceBackend backend;
  auto store = backend.load_quant(part(Kind::Q8_0, 4, 64), 64).value();
  const auto taken = std::move(store);
  EXPECT_EQ(store.in_features(), 0u);  // NOLINT: the state after the move is what is tested
  EXPECT_EQ(store.out_features(), 0u);
  EXPECT_TRUE(store.parts().empty());
  EXPECT_TRUE(backend.explain(store, 1).parts.empty());
  auto ctx = backend.new_context().value();
  const std::vector<float> x(64);
  std::vector<float> y(4, 7.0f);
  const Status forward = backend.gemm_quant(ctx, x, store, y, 1);
  ASSERT_FALSE(forward);
  EXPECT_EQ(forward.error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(backend.get_rows(ctx, store, {}, y));
  EXPECT_EQ(y, std::vector<float>(4, 7.0f));
  EXPECT_EQ(taken.out_features(), 4u);
}

TEST(Backends, AreWholeAfterAMove) {
  ReferenceBackend reference;
  const ReferenceBackend reference_taken = std::move(reference);
  EXPECT_TRUE(reference.load_quant(part(Kind::Q8_0, 4, 64), 64));  // NOLINT: a handle stays one
  AnyBackend any(reference_taken);
  const AnyBackend any_taken = std::move(any);
  EXPECT_EQ(any.name(), "reference");  // NOLINT
  EXPECT_TRUE(any_taken.allocate(1));
  CpuBackend cpu(CpuOptions{.threads = {.threads = 1}});
  const CpuBackend cpu_taken = std::move(cpu);
  EXPECT_TRUE(cpu.new_context());  // NOLINT
  EXPECT_EQ(cpu.instruction_set(), cpu_taken.instruction_set());
}

TEST(CpuBackend, WhatWasMovedFromIsAnErrorValue) {
  const CpuBackend cpu(CpuOptions{.threads = {.threads = 1}});
  auto store = cpu.load_quant(part(Kind::Q8_0, 4, 64), 64).value();
  auto ctx = cpu.new_context().value();
  const std::vector<float> x(64);
  std::vector<float> y(4);
  const auto prepared = cpu.prepare(x, 1, {&store}).value();
  const auto store_taken = std::move(store);
  // NOLINTBEGIN: the state after a move is what is tested
  EXPECT_EQ(store.in_features(), 0u);
  EXPECT_EQ(store.out_features(), 0u);
  EXPECT_TRUE(store.parts().empty());
  EXPECT_FALSE(store.export_part(0, {}));
  EXPECT_TRUE(cpu.explain(store, 1).parts.empty());
  const std::uint64_t row = 0;
  EXPECT_EQ(cpu.gemm_quant(ctx, x, store, y, 1).error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(cpu.gemm_quant(ctx, prepared, store, y));
  EXPECT_FALSE(cpu.get_rows(ctx, store, {&row, 1}, y));
  EXPECT_FALSE(cpu.prepare(x, 1, {&store}));
  const auto ctx_taken = std::move(ctx);
  EXPECT_FALSE(cpu.gemm_quant(ctx, x, store_taken, y, 1));
  EXPECT_FALSE(cpu.gemm_quant(ctx, prepared, store_taken, y));
  // NOLINTEND
}

TEST(CpuBackend, APrecisionOutsideTheEnumerationIsRefused) {
  const auto precision = static_cast<Precision>(3);
  const CpuBackend cpu(CpuOptions{.threads = {.threads = 1}});
  const auto found = cpu.load_quant(part(Kind::Q8_0, 4, 64), 64, {.precision = precision});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(found.error().message, "precision: found the value 3, expected f32, a16 or a8");
  const CpuBackend other(CpuOptions{.threads = {.threads = 1}, .precision = precision});
  EXPECT_FALSE(other.memory_plan(std::vector{part(Kind::F32, 4, 64)}, 64, 1));
}

/// The reference backend, with stores that count how often one of them outlived the backend that made it.
class WatchedBackend {
 public:
  using Buffer = HostBuffer;
  using Context = ReferenceBackend::Context;
  using Input = HostInputView;
  using Output = HostOutputView;
  class QuantStore {
   public:
    QuantStore(ReferenceBackend::QuantStore store, std::weak_ptr<int> maker, int& outlived)
        : store_(std::move(store)), maker_(std::move(maker)), outlived_(&outlived) {}
    QuantStore(QuantStore&& other) noexcept
        : store_(std::move(other.store_)), maker_(other.maker_), outlived_(std::exchange(other.outlived_, nullptr)) {}
    QuantStore& operator=(QuantStore&& other) noexcept {
      look();
      store_ = std::move(other.store_);
      maker_ = other.maker_;
      outlived_ = std::exchange(other.outlived_, nullptr);
      return *this;
    }
    ~QuantStore() { look(); }
    [[nodiscard]] std::uint64_t in_features() const noexcept { return store_.in_features(); }
    [[nodiscard]] std::uint64_t out_features() const noexcept { return store_.out_features(); }
    [[nodiscard]] std::span<const QuantPart> parts() const noexcept { return store_.parts(); }
    [[nodiscard]] Status export_part(std::size_t index, std::span<std::byte> target) const {
      return store_.export_part(index, target);
    }

   private:
    friend class WatchedBackend;
    void look() const {
      if (outlived_ != nullptr && maker_.expired()) ++*outlived_;
    }
    ReferenceBackend::QuantStore store_;
    std::weak_ptr<int> maker_;
    int* outlived_;
  };

  explicit WatchedBackend(int& outlived) : outlived_(&outlived) {}
  [[nodiscard]] std::string_view name() const noexcept { return "watched"; }
  [[nodiscard]] Result<Context> new_context() const { return reference_.new_context(); }
  [[nodiscard]] Result<Buffer> allocate(std::uint64_t count) const { return reference_.allocate(count); }
  [[nodiscard]] Status upload(std::span<const float> source, Buffer& target) const {
    return reference_.upload(source, target);
  }
  [[nodiscard]] Status download(Context& ctx, const Buffer& source, std::span<float> target) const {
    return reference_.download(ctx, source, target);
  }
  [[nodiscard]] Result<QuantStore> load_quant(const QuantPart& weights, std::uint64_t in_features,
                                              const LoadOptions& options = {}) const {
    return load_quant_fused({&weights, 1}, in_features, options);
  }
  [[nodiscard]] Result<QuantStore> load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                    const LoadOptions& options = {}) const {
    auto store = reference_.load_quant_fused(parts, in_features, options);
    if (!store) return std::unexpected(store.error());
    return QuantStore(std::move(*store), life_, *outlived_);
  }
  [[nodiscard]] Status gemm_quant(Context& ctx, const Input& input, const QuantStore& store, const Output& out,
                                  std::uint64_t m) const {
    return reference_.gemm_quant(ctx, input, store.store_, out, m);
  }
  [[nodiscard]] Status get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> rows,
                                const Output& out) const {
    return reference_.get_rows(ctx, store.store_, rows, out);
  }
  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const {
    return reference_.explain(store.store_, m);
  }
  [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                              std::uint64_t m, const LoadOptions& options = {}) const {
    return reference_.memory_plan(parts, in_features, m, options);
  }
  [[nodiscard]] MemoryUse ledger() const { return reference_.ledger(); }

 private:
  ReferenceBackend reference_;
  std::shared_ptr<int> life_ = std::make_shared<int>();
  int* outlived_;
};

TEST(Backends, AStoreThatIsAssignedToGoesBeforeItsMaker) {
  int outlived = 0;
  const auto layer_of = []<class B>(const B& backend) {
    const QuantPart weights = part(Kind::Q8_0, 4, 64);
    return QuantLinear<B>::from_gguf_bytes(backend, weights.kind, weights.bytes, 4, 64).value();
  };
  {
    auto layer = layer_of(WatchedBackend(outlived));
    layer = layer_of(WatchedBackend(outlived));
    auto erased = layer_of(AnyBackend(WatchedBackend(outlived)));
    erased = layer_of(AnyBackend(WatchedBackend(outlived)));
    auto store = AnyBackend(WatchedBackend(outlived)).load_quant(part(Kind::Q8_0, 4, 64), 64).value();
    store = AnyBackend(WatchedBackend(outlived)).load_quant(part(Kind::Q8_0, 4, 64), 64).value();
    EXPECT_EQ(store.out_features(), 4u);
  }
  EXPECT_EQ(outlived, 0);
}

TEST(AnyBackend, KnowsItsObjectsWhateverBecameOfTheirMaker) {
  // Another backend may get the memory of one that is gone, but never pass for it.
  for (int round = 0; round < 20; ++round) {
    auto first = std::make_unique<AnyBackend>(ReferenceBackend());
    auto ctx = first->new_context().value();
    auto buffer = first->allocate(64).value();
    const auto store = first->load_quant(part(Kind::Q8_0, 4, 64), 64).value();
    first.reset();
    const AnyBackend second{CpuBackend(CpuOptions{.threads = {.threads = 1}})};
    EXPECT_FALSE(second.upload(std::vector<float>(1), buffer));
    auto own = second.new_context().value();
    EXPECT_FALSE(second.download(own, buffer, {}));
    EXPECT_FALSE(second.gemm_quant(ctx, buffer, store, buffer, 1));
    EXPECT_TRUE(ctx.flush());
    EXPECT_EQ(store.out_features(), 4u);
  }
}

TEST(AnyBackend, AMovedFromStoreAndContextAreEmpty) {
  const AnyBackend any{ReferenceBackend()};
  auto store = any.load_quant(part(Kind::Q8_0, 4, 64), 64).value();
  auto ctx = any.new_context().value();
  const auto store_taken = std::move(store);
  auto ctx_taken = std::move(ctx);
  EXPECT_EQ(store.in_features(), 0u);  // NOLINT: the state after the move is what is tested
  EXPECT_EQ(store.out_features(), 0u);
  EXPECT_TRUE(store.parts().empty());
  EXPECT_FALSE(ctx.flush());
  EXPECT_TRUE(ctx_taken.flush());
  EXPECT_EQ(store_taken.out_features(), 4u);
}

}  // namespace
}  // namespace quantlinear
