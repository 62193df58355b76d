// Large headers and small memories: a million keys, 10^5 tensors, and every allocation failing once.
// Times are printed, never judged.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "gguf_raw.hpp"
#include "quantlinear/gguf_writer.hpp"

// ---- counted allocations: a global new of our own -----------------------------------------------

namespace {

thread_local long allocations_left = -1;  // until one fails; negative: none does
thread_local std::size_t allocated_now = 0, allocated_most = 0;

// Each block carries its size in front, with room for the strictest alignment used. Not inlined:
// compilers look into a replaced new and complain of what they see.
constexpr std::size_t room = 64;

[[gnu::noinline]] void* allocate(std::size_t size) noexcept {
  if (allocations_left == 0) return nullptr;
  if (allocations_left > 0) --allocations_left;
  void* block = std::aligned_alloc(room, (size + room + room - 1) / room * room);
  if (block == nullptr) return nullptr;
  *static_cast<std::size_t*>(block) = size;
  allocated_now += size;
  allocated_most = std::max(allocated_most, allocated_now);
  return static_cast<char*>(block) + room;
}

[[gnu::noinline]] void release(void* memory) noexcept {
  if (memory == nullptr) return;
  void* block = static_cast<char*>(memory) - room;
  allocated_now -= *static_cast<std::size_t*>(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) {
  if (void* memory = allocate(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t) { return operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new(std::size_t size, std::align_val_t, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace {

using namespace gguf_test;
using quantlinear::ErrorCode;
using quantlinear::GgufAccess;
using quantlinear::GgufFile;
using quantlinear::GgufQuantType;
using quantlinear::GgufWriter;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Opens the file, prints what that took, and checks that memory stays below `times` its size. In
// memory the file itself is not counted: it was there before.
GgufFile opened_within(const Raw& file, Way way, double times) {
  const Directory directory;
  const auto path = directory.write("test.gguf", file.bytes);
  auto bytes = file.vector();
  const std::size_t before = allocated_now;
  allocated_most = allocated_now;
  const auto start = std::chrono::steady_clock::now();
  auto opened = way == Way::memory ? GgufFile::parse(std::move(bytes), "test.gguf")
                                   : GgufFile::open(path, {way == Way::map ? GgufAccess::map : GgufAccess::read});
  const double took = seconds_since(start);
  const double factor = static_cast<double>(allocated_most - before) / static_cast<double>(file.bytes.size());
  std::printf("  %-6s %.1f MB in %.3f s, index and list take %.2f x the file\n", to_string(way),
              static_cast<double>(file.bytes.size()) / 1e6, took, factor);
  EXPECT_LE(factor, times);
  if (!opened) throw std::runtime_error(opened.error().message);
  return *opened;
}

TEST(GgufScale, AMillionKeys) {
  Raw f;
  f.head(0, 1000000);
  for (std::uint32_t i = 0; i < 1000000; ++i) f.key(std::to_string(i), U8).put(static_cast<std::uint8_t>(i));
  for (const Way way : every_way) {
    const GgufFile file = opened_within(f, way, 3);
    const auto metadata = file.metadata();
    ASSERT_EQ(metadata.size(), 1000000u);
    EXPECT_EQ(metadata.get<std::uint8_t>("999999"), 63);
    EXPECT_EQ(metadata.get<std::uint8_t>("0"), 0);
    EXPECT_FALSE(metadata.contains("1000000"));
    EXPECT_EQ(metadata.get<std::uint8_t>("x").error().code, ErrorCode::not_found);
  }
  f.bytes.replace(f.bytes.size() - 6 - 5, 6, "123456");  // the last key becomes one that was there
  const auto twice = GgufFile::parse(f.vector(), "twice");
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("key (999999, 123456)"), std::string::npos) << twice.error().message;
}

TEST(GgufScale, AHundredThousandTensors) {
  constexpr std::uint64_t count = 100000;
  Raw f;
  f.head(count, 0);
  for (std::uint64_t i = 0; i < count; ++i) {  // in reverse, so that overlaps need the sort
    f.tensor("blk." + std::to_string(i) + ".weight", {8}, 0, (count - 1 - i) * 32);
  }
  const std::size_t header = f.bytes.size();
  f.data(count * 32);
  for (const Way way : every_way) {
    const GgufFile file = opened_within(
        f, way,
        4.0 * static_cast<double>(header) / static_cast<double>(f.bytes.size()) + (way == Way::read ? 1.0 : 0.0));
    ASSERT_EQ(file.tensors().size(), count);
    const auto* last = file.find("blk.99999.weight").value();
    EXPECT_EQ(last, &file.tensors()[count - 1]);
    const auto bytes = file.bytes(*last).value();
    EXPECT_EQ(std::memcmp(bytes.bytes().data(), f.bytes.data() + last->offset, 32), 0);
    EXPECT_FALSE(file.find("blk.100000.weight"));
  }
}

TEST(GgufScale, AVocabulary) {
  Raw f;
  f.head(0, 2).array("tokenizer.ggml.tokens", STRING).u64(2000000);
  for (std::uint32_t i = 0; i < 2000000; ++i)
    f.text("token").put(static_cast<std::uint8_t>(i)), f.bytes.resize(f.bytes.size() - 1);
  f.array("tokenizer.ggml.scores", F32).u64(2000000).zeros(8000000);
  for (const Way way : every_way) {
    const GgufFile file = opened_within(f, way, 1);
    const auto start = std::chrono::steady_clock::now();
    const auto tokens = file.metadata().get<std::vector<std::string_view>>("tokenizer.ggml.tokens");
    const auto scores = file.metadata().get<std::vector<float>>("tokenizer.ggml.scores");
    std::printf("         getting both arrays took %.3f s\n", seconds_since(start));
    ASSERT_TRUE(tokens && scores);
    EXPECT_EQ(tokens->size(), 2000000u);
    EXPECT_EQ(tokens->back(), "token");
    EXPECT_EQ(scores->size(), 2000000u);
  }
}

// ---- every allocation fails once -----------------------------------------------------------------

// Runs `work`, which returns a Result, with the n-th allocation failing, for every n until it
// succeeds; each failure must be an error value, and nothing may stay allocated.
template <class Work>
void fail_every_allocation(const char* what, Work&& work) {
  long n = 0;
  for (;; ++n) {
    ASSERT_LT(n, 10000) << what;
    const std::size_t before = allocated_now;
    allocations_left = n;
    bool good = false;
    ErrorCode code{};
    {
      const auto result = work();
      allocations_left = -1;
      good = result.has_value();
      if (!good) code = result.error().code;
    }
    ASSERT_EQ(allocated_now, before) << what << ", allocation " << n;
    if (good) break;
    ASSERT_EQ(code, ErrorCode::out_of_memory) << what << ", allocation " << n;
  }
  std::printf("  %s: %ld allocations\n", what, n);
}

TEST(GgufOutOfMemory, IsAnErrorValueAtEveryAllocation) {
  const Directory directory;
  Raw f;
  f.head(2, 3).key("general.architecture", STRING).text("a string longer than the small buffer of a string");
  f.array("list", STRING).u64(2).text("a").text("bc").key("n", U32).u32(7);
  f.tensor("a.tensor.with.a.rather.long.name", {32, 2}, 8, 0).tensor("b", {3}, 0, 96).data(96 + 12);
  const auto path = directory.write("file.gguf", f.bytes);
  for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
    fail_every_allocation("open", [&] { return GgufFile::open(path, {access}); });
  }
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file);
  fail_every_allocation("get", [&] { return file->metadata().get<std::vector<std::string>>("list"); });
  fail_every_allocation("value", [&] { return file->metadata()[1].value(); });

  const std::filesystem::path out = directory / "out.gguf";
  const std::vector<std::byte> bytes(128);
  const std::vector<std::uint64_t> dims{32};
  fail_every_allocation("write", [&]() -> quantlinear::Status {
    GgufWriter writer;
    if (auto set = writer.set("a.key.longer.than.the.small.buffer", 1u); !set) return set;
    if (auto added = writer.add_tensor("a.name.longer.than.the.small.buffer", GgufQuantType::F32, dims, bytes);
        !added) {
      return added;
    }
    return writer.write(out);
  });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 2);
}

}  // namespace
