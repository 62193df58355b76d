// Every fallible call with every one of its allocations failing in turn, alone and with all that follow: it returns an
// error and throws nothing. Allocations here are those of operator new; blocks of weights and of scratch come from
// elsewhere (memory_test.cpp).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "quantlinear/any_backend.hpp"
#include "quantlinear/cpu_backend.hpp"
#include "quantlinear/gguf_writer.hpp"
#include "quantlinear/linear.hpp"
#include "quantlinear/reference_backend.hpp"
#include "support/random_weights.hpp"

namespace {

/// Allocations that still succeed; then one fails, or all do. Below zero: none fails.
thread_local long left = -1;
thread_local bool all_fail = false, has_failed = false;

void* allocate(std::size_t size) {
  if (left == 0) {
    has_failed = true;
    if (!all_fail) left = -1;
    return nullptr;
  }
  if (left > 0) --left;
  return std::malloc(size == 0 ? 1 : size);
}

}  // namespace

// Not inlined: GCC warns of memory from one of them that another one frees where it has inlined only that.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* memory = allocate(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace quantlinear {
namespace {

constexpr std::uint64_t kRows = 16, kColumns = 256;

/// The result of a call as far as this test goes.
using Outcome = std::optional<Error>;
template <class T>
Outcome outcome(Result<T>&& result) {
  if (result) return std::nullopt;
  return std::move(result.error());
}

/// Runs `call` with its first, second, ... allocation failing until it no longer has as many. It succeeds without, if
/// `succeeds`, else it returns an error anyway.
void sweep(const std::string& what, bool succeeds, const std::function<Outcome()>& call) {
  const Outcome usual = call();
  ASSERT_EQ(usual == std::nullopt, succeeds) << what << (usual ? ": " + usual->message : "");
  for (const bool all : {false, true}) {
    for (long n = 0;; ++n) {
      ASSERT_LT(n, 20000) << what;
      Outcome found;
      bool threw = false;
      left = n, all_fail = all, has_failed = false;
      try {
        found = call();
      } catch (...) {
        threw = true;
      }
      left = -1;
      EXPECT_FALSE(threw) << what << ": allocation " << n << (all ? " and all that follow" : "");
      if (!has_failed) break;
      if (!found) continue;  // the library did without what it asked for
      EXPECT_TRUE(found->code == ErrorCode::out_of_memory || (usual && found->code == usual->code))
          << what << ": allocation " << n << ": " << found->message;
      EXPECT_FALSE(found->message.empty()) << what;
    }
  }
}

QuantPart part(GgufQuantType kind) {
  return {kind, QuantBytes::own(test::random_weights(kind, kRows, kColumns, 1)), kRows, {}};
}

/// What all backends have.
template <class B>
void sweep_backend(const std::string& name, const B& backend) {
  const QuantPart weights = part(GgufQuantType::Q4_K);
  const auto called = [&](const char* call) { return name + " " + call; };
  const auto layer = QuantLinear<B>::from_gguf_bytes(backend, weights.kind, weights.bytes, kRows, kColumns).value();
  auto ctx = backend.new_context().value();
  auto x = backend.allocate(2 * kColumns).value(), y = backend.allocate(2 * kRows).value();
  auto rows = backend.allocate(2 * kColumns).value();
  const std::vector<float> values = test::random_activations(2 * kColumns, 2);
  std::vector<float> read(2 * kRows);
  const std::vector<std::uint64_t> ids = {3, 1}, wrong_ids = {kRows};
  const typename B::Input input(std::as_const(x), 0, 0);
  const typename B::Output output(y, 0, 0), row_output(rows, 0, 0);
  const std::vector<float> bias(kRows, 1.0f);

  sweep(called("new_context"), true, [&] { return outcome(backend.new_context()); });
  sweep(called("allocate"), true, [&] { return outcome(backend.allocate(64)); });
  sweep(called("upload"), true, [&] { return outcome(backend.upload(values, x)); });
  sweep(called("upload, too long"), false, [&] { return outcome(backend.upload(values, y)); });
  sweep(called("download"), true, [&] { return outcome(backend.download(ctx, y, read)); });
  sweep(called("from_gguf_bytes"), true, [&] {
    return outcome(QuantLinear<B>::from_gguf_bytes(backend, weights.kind, weights.bytes, kRows, kColumns, {}, bias));
  });
  sweep(called("from_gguf_bytes, wrong size"), false, [&] {
    return outcome(QuantLinear<B>::from_gguf_bytes(backend, weights.kind, weights.bytes, kRows + 1, kColumns));
  });
  const std::vector<QuantPart> parts = {weights, weights};
  const LoadOptions interleaved{.layout = StoreLayout::interleaved};
  sweep(called("from_gguf_fused, interleaved"), true,
        [&] { return outcome(QuantLinear<B>::from_gguf_fused(backend, parts, kColumns, interleaved)); });
  sweep(called("memory_plan"), true,
        [&] { return outcome(backend.memory_plan({&weights, 1}, kColumns, 4, LoadOptions{})); });
  sweep(called("forward"), true, [&] {
    auto fresh = backend.new_context();
    if (!fresh) return outcome(std::move(fresh));
    return outcome(layer.forward(*fresh, input, output, 2));
  });
  sweep(called("forward, too many rows"), false, [&] { return outcome(layer.forward(ctx, input, output, 3)); });
  sweep(called("get_rows"), true, [&] { return outcome(layer.get_rows(ctx, ids, row_output)); });
  sweep(called("get_rows, past the end"), false, [&] { return outcome(layer.get_rows(ctx, wrong_ids, row_output)); });
  sweep(called("explain"), true, [&] {
    (void)layer.explain(2);
    return Outcome();
  });
  VerifyOptions verified;
  verified.m = {1, 2};
  sweep(called("verify"), true, [&] { return outcome(layer.verify(verified)); });
}

TEST(OutOfMemory, CpuBackend) {
  CpuOptions options;
  options.threads.threads = 1;
  const CpuBackend cpu(options);
  sweep_backend("cpu", cpu);

  options.instruction_set = "avx9000, which nobody has";
  const CpuBackend refused(options);
  sweep("status", false, [&] { return outcome(refused.status()); });
  sweep("new_context, refused", false, [&] { return outcome(refused.new_context()); });

  const auto layer = QuantLinear<CpuBackend>::from_gguf_fused(cpu, std::vector{part(GgufQuantType::Q6_K)}, kColumns);
  const std::vector<float> x = test::random_activations(kColumns, 2);
  std::vector<float> y(kRows);
  auto ctx = cpu.new_context().value();
  sweep("prepare", true, [&] { return outcome(cpu.prepare(x, 1, {&layer->store()})); });
  sweep("prepare, for nothing", false, [&] { return outcome(cpu.prepare(x, 1, {})); });
  sweep("prepare, too short", false, [&] { return outcome(cpu.prepare(x, 2, {&layer->store()})); });
  const auto prepared = cpu.prepare(x, 1, {&layer->store()}).value();
  sweep("forward, prepared", true, [&] { return outcome(layer->forward(ctx, prepared, y)); });
  const auto other = QuantLinear<CpuBackend>::from_gguf_fused(cpu, std::vector{part(GgufQuantType::F32)}, kColumns);
  sweep("forward, prepared for another", false, [&] { return outcome(other->forward(ctx, prepared, y)); });
  const auto permuted = QuantLinear<CpuBackend>::from_gguf_fused(cpu, std::vector{part(GgufQuantType::Q4_K)}, kColumns,
                                                                 {.layout = StoreLayout::interleaved});
  const std::vector<std::uint64_t> ids = {5, 2};
  const std::vector<float> untouched(2 * kColumns, -1.0f);
  std::vector<float> rows = untouched;
  sweep("get_rows, interleaved", true, [&] {
    Outcome result = outcome(permuted->get_rows(ctx, ids, rows));
    EXPECT_EQ(rows == untouched, result.has_value()) << "written before it failed, or not at all";
    std::ranges::copy(untouched, rows.begin());
    return result;
  });
  std::vector<std::byte> bytes(layer->store().parts()[0].bytes.size());
  sweep("export_part", true, [&] { return outcome(layer->store().export_part(0, bytes)); });
  sweep("export_part, of none", false, [&] { return outcome(layer->store().export_part(1, bytes)); });
}

TEST(OutOfMemory, ReferenceBackend) { sweep_backend("reference", ReferenceBackend()); }

TEST(OutOfMemory, AnyBackend) {
  CpuOptions options;
  options.threads.threads = 1;
  const AnyBackend any = make_backend("cpu", options).value();
  sweep_backend("any", any);
  const AnyBackend another = make_backend("reference").value();
  const auto buffer = another.allocate(kRows).value();
  auto ctx = any.new_context().value();
  std::vector<float> read(kRows);
  sweep("download, of another backend", false, [&] { return outcome(any.download(ctx, buffer, read)); });
  sweep("make_backend", true, [&] { return outcome(make_backend("cpu", options)); });
  sweep("make_backend, reference", true, [&] { return outcome(make_backend("reference")); });
  sweep("make_backend, unknown", false, [&] { return outcome(make_backend("no such backend anywhere")); });
}

TEST(OutOfMemory, QuantTypes) {
  std::vector<float> out(kColumns);
  const std::vector<std::byte> blocks(100);
  sweep("row_bytes", false, [&] { return outcome(row_bytes(GgufQuantType::Q4_K, 255)); });
  sweep("matrix_bytes", false, [&] { return outcome(matrix_bytes(GgufQuantType::Q4_K, ~0ULL, 256)); });
  sweep("dequantize", false, [&] { return outcome(dequantize(GgufQuantType::Q4_K, blocks, out)); });
  sweep("find_non_finite_block", false, [&] { return outcome(find_non_finite_block(GgufQuantType::Q4_K, blocks)); });
  sweep("HostBuffer", false, [&] { return outcome(HostBuffer::allocate(~0ULL)); });
  sweep("QuantBytes::copy", true, [&] { return outcome(QuantBytes::copy(blocks)); });
}

TEST(OutOfMemory, GgufFiles) {
  const QuantPart weights = part(GgufQuantType::Q4_K);
  const std::vector<std::uint64_t> dims = {kColumns, kRows}, bias_dims = {kRows};
  const std::vector<std::byte> bias(4 * kRows);
  const auto fill = [&](GgufWriter& writer) -> Status {
    if (Status s = writer.set("general.name", std::string("a model")); !s) return s;
    if (Status s = writer.add_tensor("blk.0.attn_q.weight", weights.kind, dims, weights.bytes); !s) return s;
    return writer.add_tensor("blk.0.attn_q.bias", GgufQuantType::F32, bias_dims, bias);
  };
  sweep("GgufWriter", true, [&] {
    GgufWriter writer;
    return outcome(fill(writer));
  });
  GgufWriter writer;
  ASSERT_TRUE(fill(writer));
  sweep("add_tensor, again", false,
        [&] { return outcome(writer.add_tensor("blk.0.attn_q.weight", weights.kind, dims, weights.bytes)); });
  sweep("add_tensor, wrong size", false,
        [&] { return outcome(writer.add_tensor("another.weight", weights.kind, bias_dims, weights.bytes)); });
  sweep("serialize", true, [&] { return outcome(writer.serialize()); });
  const auto path = std::filesystem::temp_directory_path() / "quantlinear_out_of_memory_test.gguf";
  sweep("write", true, [&] { return outcome(writer.write(path)); });
  sweep("open", true, [&] { return outcome(GgufFile::open(path)); });
  const std::filesystem::path nothing = path.string() + " of another name";
  sweep("open, not there", false, [&] { return outcome(GgufFile::open(nothing)); });
  const std::vector<std::byte> bytes = writer.serialize().value();
  const std::string label = "memory";
  sweep("parse, cut off", false, [&] {
    std::vector<std::byte> cut;
    try {
      cut.assign(bytes.begin(), bytes.begin() + 100);
    } catch (const std::bad_alloc&) {
      return Outcome(Error{ErrorCode::out_of_memory, "test", {}});
    }
    return outcome(GgufFile::parse(std::move(cut), label));
  });
  const GgufFile file = GgufFile::open(path).value();
  sweep("find", false, [&] { return outcome(file.find("blk.0.attn_k.weight and more")); });
  sweep("bytes", true, [&] { return outcome(file.bytes("blk.0.attn_q.weight")); });
  sweep("metadata", true, [&] { return outcome(file.metadata().get<std::string>("general.name")); });
  sweep("metadata, of another type", false,
        [&] { return outcome(file.metadata().get<std::uint32_t>("general.name")); });
  CpuOptions options;
  options.threads.threads = 1;
  const CpuBackend cpu(options);
  sweep("from_gguf", true,
        [&] { return outcome(QuantLinear<CpuBackend>::from_gguf(cpu, file, "blk.0.attn_q.weight")); });
  sweep("from_gguf, no such tensor", false,
        [&] { return outcome(QuantLinear<CpuBackend>::from_gguf(cpu, file, "blk.0.attn_k.weight")); });
  std::filesystem::remove(path);
}

/// A call of a writer that fails changes nothing, and succeeds when it is made again.
TEST(OutOfMemory, GgufWriterIsAsBefore) {
  const QuantPart weights = part(GgufQuantType::Q4_K);
  const std::vector<std::uint64_t> dims = {kColumns, kRows};
  GgufWriter base;
  ASSERT_TRUE(base.set("general.name", std::string("a model")));
  const std::vector<std::byte> before = base.serialize().value();
  const auto check = [&](const std::string& what, const std::function<Status(GgufWriter&)>& call) {
    for (const bool all : {false, true}) {
      for (long n = 0;; ++n) {
        GgufWriter writer = base;
        left = n, all_fail = all, has_failed = false;
        const Status status = call(writer);
        left = -1;
        if (!has_failed) break;
        ASSERT_FALSE(status) << what << ": allocation " << n;
        EXPECT_EQ(writer.serialize().value(), before) << what << ": allocation " << n;
        EXPECT_TRUE(call(writer)) << what << ": allocation " << n;
        EXPECT_NE(writer.serialize().value(), before) << what << ": allocation " << n;
      }
    }
  };
  check("set", [](GgufWriter& w) { return w.set("general.description, longer than strings hold", std::uint32_t{1}); });
  check("add_tensor",
        [&](GgufWriter& w) { return w.add_tensor("blk.0.attn_q.weight", weights.kind, dims, weights.bytes); });
}

}  // namespace
}  // namespace quantlinear
