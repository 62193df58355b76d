// What the writer makes: files that the reader gives back unchanged, laid out by the strictest rules,
// and never half of one.
#include "quantlinear/gguf_writer.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>

#include "gguf_raw.hpp"

namespace {

using namespace gguf_test;
using quantlinear::Error;
using quantlinear::ErrorCode;
using quantlinear::GgufArray;
using quantlinear::GgufFile;
using quantlinear::GgufQuantType;
using quantlinear::GgufTensorData;
using quantlinear::GgufValue;
using quantlinear::GgufWriter;
using quantlinear::QuantBytes;
using quantlinear::Result;

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 13 + size);
  return bytes;
}

using Dims = std::vector<std::uint64_t>;

std::vector<std::pair<std::string, GgufValue>> every_value() {
  using A = GgufArray;
  return {
      {"u8", std::uint8_t{255}},
      {"i8", std::int8_t{-128}},
      {"u16", std::uint16_t{65535}},
      {"i16", std::int16_t{-32768}},
      {"u32", 4294967295u},
      {"i32", -7},
      {"f32", 1.5f},
      {"bool", true},
      {"string", "text with \n and \xC3\xA9"},
      {"bytes", std::string("\xFF\0\x80", 3)},
      {"u64", max64},
      {"i64", std::int64_t{-5}},
      {"f64", -2.5},
      {"[u8]", A{std::vector<std::uint8_t>{1, 255}}},
      {"[i8]", A{std::vector<std::int8_t>{1, -1}}},
      {"[u16]", A{std::vector<std::uint16_t>{1, 65535}}},
      {"[i16]", A{std::vector<std::int16_t>{1, -1}}},
      {"[u32]", A{std::vector<std::uint32_t>{1, 4294967295u}}},
      {"[i32]", A{std::vector<std::int32_t>{1, -1}}},
      {"[f32]", A{std::vector<float>{0.5f, -0.5f}}},
      {"[bool]", A{std::vector<bool>{true, false, true}}},
      {"[string]", A{std::vector<std::string>{"one", "", "three"}}},
      {"[u64]", A{std::vector<std::uint64_t>{max64}}},
      {"[i64]", A{std::vector<std::int64_t>{-1}}},
      {"[f64]", A{std::vector<double>{1e300}}},
      {"[]", A{std::vector<float>{}}},
      {"[[]]", A{std::vector<A>{A{std::vector<std::uint8_t>{1}}, A{std::vector<A>{A{std::vector<std::string>{"x"}}}}}}},
  };
}

TEST(GgufWriter, EveryValueComesBack) {
  GgufWriter writer;
  const auto values = every_value();
  for (const auto& [key, value] : values) ASSERT_TRUE(writer.set(key, value)) << key;
  const auto bytes = writer.serialize();
  ASSERT_TRUE(bytes);
  const auto file = GgufFile::parse(*bytes, "written");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->metadata().size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(file->metadata()[i].key, values[i].first);  // in the order they were set
    EXPECT_EQ(file->metadata()[i].value(), values[i].second) << values[i].first;
  }
}

// Writing what was read gives the same file, byte for byte: also a proof that the layout is ggml's,
// whose writer made the golden files.
TEST(GgufWriter, GoldenFilesAreReproducedExactly) {
  for (const auto& entry : std::filesystem::directory_iterator(QUANTLINEAR_GOLDEN_DIR)) {
    if (entry.path().extension() != ".gguf") continue;
    const auto file = GgufFile::open(entry.path());
    ASSERT_TRUE(file);
    GgufWriter writer;
    for (const auto& key : file->metadata()) ASSERT_TRUE(writer.set(std::string(key.key), key.value().value()));
    for (const auto& tensor : file->tensors()) {
      ASSERT_TRUE(writer.add_tensor(tensor.name, tensor.type_id, tensor.dims, file->bytes(tensor).value()));
    }
    std::ifstream stream(entry.path(), std::ios::binary);
    const Raw original{std::string(std::istreambuf_iterator<char>(stream), {})};
    EXPECT_EQ(writer.serialize().value(), original.vector()) << entry.path();
  }
}

TEST(GgufWriter, LayoutIsPaddedAfterEachTensorAndTheLast) {
  for (const std::uint32_t alignment : {1u, 32u, 64u, 4096u}) {
    GgufWriter writer;
    ASSERT_TRUE(writer.set_alignment(alignment));
    const auto a = pattern(4), b = pattern(34 * 6), c = pattern(100);
    ASSERT_TRUE(writer.add_tensor("a", GgufQuantType::F32, Dims{1}, a));
    ASSERT_TRUE(writer.add_tensor("b", GgufQuantType::Q8_0, Dims{32, 3, 2}, b));
    ASSERT_TRUE(writer.add_tensor("c", 24, Dims{100}, c));
    const auto bytes = writer.serialize();
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->size() % alignment, 0u);
    const auto file = GgufFile::parse(*bytes, "written");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->alignment(), alignment);
    EXPECT_EQ(file->metadata().contains("general.alignment"), alignment != 32);
    std::uint64_t expected = file->tensors()[0].offset;
    for (const auto& tensor : file->tensors()) {
      EXPECT_EQ(tensor.offset, expected);
      EXPECT_EQ(tensor.offset % alignment, 0u);
      expected = (expected + tensor.bytes + alignment - 1) / alignment * alignment;
      const auto got = file->bytes(tensor).value().bytes();
      EXPECT_EQ(std::vector<std::byte>(got.begin(), got.end()), tensor.name == "a" ? a : tensor.name == "b" ? b : c);
    }
    EXPECT_EQ(expected, bytes->size());
  }
}

TEST(GgufWriter, SettingAgainReplacesInPlace) {
  GgufWriter writer;
  ASSERT_TRUE(writer.set("a", 1u));
  ASSERT_TRUE(writer.set("b", 2u));
  ASSERT_TRUE(writer.set("a", "new"));
  ASSERT_TRUE(writer.set("general.alignment", 64u));
  ASSERT_TRUE(writer.set("general.alignment", 128u));
  const auto file = GgufFile::parse(writer.serialize().value(), "written");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->metadata().size(), 3u);
  EXPECT_EQ(file->metadata()[1].key, "a");
  EXPECT_EQ(file->metadata().get<std::string>("a"), "new");
  EXPECT_EQ(file->alignment(), 128u);
}

void expect_refused(const quantlinear::Status& status, std::string_view why) {
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::invalid_argument) << status.error().message;
  EXPECT_NE(status.error().message.find(why), std::string::npos) << status.error().message;
}

TEST(GgufWriter, RefusesWhatReadersWouldRefuseAndChangesNothing) {
  GgufWriter writer;
  ASSERT_TRUE(writer.set("k", 1u));
  const auto bytes = pattern(128);
  ASSERT_TRUE(writer.add_tensor("w", GgufQuantType::F32, Dims{32}, bytes));
  const auto before = writer.serialize().value();

  expect_refused(writer.set("", 1u), "found 0 bytes, expected 1 to 65535");
  expect_refused(writer.set(std::string(65536, 'k'), 1u), "found 65536 bytes");
  expect_refused(writer.set("general.alignment", 32), "found i32, the alignment must be u32");
  for (const std::uint32_t alignment : {0u, 3u, 24u, 1u << 21, ~0u}) {
    expect_refused(writer.set_alignment(alignment), "expected a power of two up to 1048576");
    expect_refused(writer.set("general.alignment", alignment), "expected a power of two");
  }
  GgufArray deep{std::vector<std::uint8_t>{1}};
  for (int i = 0; i < 4; ++i) deep = GgufArray{std::vector<GgufArray>{deep}};
  expect_refused(writer.set("deep", deep), "metadata key \"deep\": found an array nested deeper than 4 levels");

  const auto f32 = GgufQuantType::F32;
  expect_refused(writer.add_tensor("w", f32, Dims{32}, bytes), "tensor \"w\": found a second time");
  expect_refused(writer.add_tensor("", f32, Dims{32}, bytes), "found a name of 0 bytes");
  expect_refused(writer.add_tensor(std::string(64, 'w'), f32, Dims{32}, bytes), "expected 1 to 63");
  expect_refused(writer.add_tensor("v", f32, Dims{}, bytes), "found 0 dimensions, expected 1 to 4");
  expect_refused(writer.add_tensor("v", f32, Dims{1, 1, 1, 1, 32}, bytes), "found 5 dimensions");
  expect_refused(writer.add_tensor("v", f32, Dims{32, 0}, std::span<const std::byte>{}), "found 0 for dims[1]");
  expect_refused(writer.add_tensor("v", f32, Dims{33}, bytes),
                 "found 128 bytes of data, its type and dimensions need 132");
  expect_refused(writer.add_tensor("v", GgufQuantType::Q8_0, Dims{16, 2}, bytes), "whole blocks of 32");
  expect_refused(writer.add_tensor("v", f32, Dims{pow2(62)}, bytes), "more than 2^64-1 bytes");
  expect_refused(writer.add_tensor("v", 4, Dims{32}, bytes), "the type Q4_2, which GGUF has removed");
  expect_refused(writer.add_tensor("v", 99, Dims{32}, bytes), "not the id of a tensor type");

  EXPECT_EQ(writer.serialize().value(), before);
}

TEST(GgufWriter, SizesPast63BitsAreRefused) {
  GgufWriter writer;
  const GgufTensorData::Source never = []() -> Result<QuantBytes> { return QuantBytes(); };
  ASSERT_TRUE(writer.add_tensor("a", 24, Dims{pow2(62)}, never));
  ASSERT_TRUE(writer.add_tensor("b", 24, Dims{pow2(62)}, never));
  const auto bytes = writer.serialize();
  ASSERT_FALSE(bytes);
  EXPECT_NE(bytes.error().message.find("tensor \"b\": the file would pass 2^63 bytes"), std::string::npos);

  GgufWriter at_the_end;  // where the place of "b" alone is too far
  ASSERT_TRUE(at_the_end.add_tensor("a", 24, Dims{pow2(63) - 1 - pow2(31)}, never));
  ASSERT_TRUE(at_the_end.add_tensor("b", 24, Dims{pow2(62)}, never));
  const auto too_far = at_the_end.serialize();
  ASSERT_FALSE(too_far);
  EXPECT_NE(too_far.error().message.find("tensor \"b\": the file would pass 2^63 bytes"), std::string::npos)
      << too_far.error().message;
}

TEST(GgufWriter, ALinkIsReplacedIfItLeadsToAFileOrToNothing) {
  const Directory directory;
  GgufWriter writer;
  const auto bytes = pattern(128);
  ASSERT_TRUE(writer.add_tensor("a", GgufQuantType::F32, Dims{32}, bytes));
  const auto path = directory / "model.gguf", file = directory.write("file", "kept");
  for (const auto& leads_to : {directory.path(), std::filesystem::path("/dev/null"), file, directory / "nowhere"}) {
    std::filesystem::create_symlink(leads_to, path);
    const bool replaced = leads_to == file || !std::filesystem::exists(leads_to);
    EXPECT_EQ(writer.write(path).has_value(), replaced) << leads_to;
    EXPECT_EQ(std::filesystem::is_symlink(path), !replaced) << leads_to;
    std::filesystem::remove(path);
  }
  EXPECT_EQ(std::filesystem::file_size(file), 4u);
}

// ---- sources -----------------------------------------------------------------------------------

TEST(GgufWriter, SourcesAreCalledInOrderAndOnceAWrite) {
  GgufWriter writer;
  std::string calls;
  for (const char* name : {"a", "b"}) {
    const GgufTensorData::Source source = [&calls, name]() -> Result<QuantBytes> {
      calls += name;
      return QuantBytes::own(pattern(128));
    };
    ASSERT_TRUE(writer.add_tensor(name, GgufQuantType::F32, Dims{32}, source));
  }
  EXPECT_EQ(calls, "");
  const auto first = writer.serialize().value();
  EXPECT_EQ(calls, "ab");
  EXPECT_EQ(writer.serialize().value(), first);
  EXPECT_EQ(calls, "abab");
}

TEST(GgufWriter, SourcesThatFailEndTheWriteAndLeaveNothing) {
  const Directory directory;
  const std::vector<std::pair<GgufTensorData::Source, std::string>> sources{
      {[]() -> Result<QuantBytes> { return quantlinear::fail(ErrorCode::device, "gone"); }, "gone"},
      {[]() -> Result<QuantBytes> { return QuantBytes::own(pattern(127)); }, "found 127 bytes of data from its source"},
      {[]() -> Result<QuantBytes> { throw std::bad_alloc(); }, "out of memory"},
      {nullptr, "its source is an empty function"},
  };
  for (const auto& [source, why] : sources) {
    GgufWriter writer;
    const auto bytes = pattern(128);
    ASSERT_TRUE(writer.add_tensor("a", GgufQuantType::F32, Dims{32}, bytes));
    ASSERT_TRUE(writer.add_tensor("b", GgufQuantType::F32, Dims{32}, source));
    const auto written = writer.write(directory / "model.gguf");
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find(why), std::string::npos) << written.error().message;
    EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
    EXPECT_FALSE(writer.serialize());
  }
}

// ---- files -------------------------------------------------------------------------------------

class GgufWriterFile : public testing::Test {
 protected:
  GgufWriterFile() : bytes_(pattern(128)) {
    EXPECT_TRUE(writer_.set("general.name", "test"));
    EXPECT_TRUE(writer_.add_tensor("w", GgufQuantType::F32, Dims{32}, bytes_));
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory_.path()), {}));
  }
  std::vector<std::byte> bytes_;
  GgufWriter writer_;
  Directory directory_;
};

TEST_F(GgufWriterFile, IsWhatSerializeGives) {
  ASSERT_TRUE(writer_.write(directory_ / "model.gguf"));
  EXPECT_EQ(files(), 1u);
  std::ifstream stream(directory_ / "model.gguf", std::ios::binary);
  const Raw written{std::string(std::istreambuf_iterator<char>(stream), {})};
  EXPECT_EQ(writer_.serialize().value(), written.vector());
  const auto file = GgufFile::open(directory_ / "model.gguf");
  ASSERT_TRUE(file) << file.error().message;
}

TEST_F(GgufWriterFile, ReplacesAFileThatIsOpen) {
  const auto path = directory_ / "model.gguf";
  ASSERT_TRUE(writer_.write(path));
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto old = GgufFile::open(path);
  ASSERT_TRUE(old);
  ASSERT_TRUE(writer_.set("general.name", "newer"));
  // The data of the new file comes from the old one, which it replaces.
  GgufWriter copy;
  ASSERT_TRUE(copy.add_tensor("w2", GgufQuantType::F32, Dims{32}, old->bytes("w").value()));
  ASSERT_TRUE(copy.write(path));
  EXPECT_EQ(files(), 1u);
  EXPECT_TRUE(old->check_unchanged());
  const auto now = GgufFile::open(path);
  ASSERT_TRUE(now);
  EXPECT_TRUE(std::ranges::equal(now->bytes("w2")->bytes(), bytes_));
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(GgufWriterFile, PathsThatCannotBeWritten) {
  const auto expect_io = [&](const std::filesystem::path& path, std::string_view why) {
    const auto written = writer_.write(path);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::io) << written.error().message;
    EXPECT_NE(written.error().message.find(why), std::string::npos) << written.error().message;
  };
  expect_io(directory_.path(), "exists and is no regular file");
  expect_io("/dev/null", "exists and is no regular file");  // a rename would replace the device
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  ASSERT_EQ(::mkfifo((directory_ / "fifo").c_str(), 0600), 0);
  expect_io(directory_ / "fifo", "exists and is no regular file");
  expect_io(directory_ / "missing/model.gguf", "cannot create a temporary file beside it: No such file or directory");
  expect_io("/dev/full/x", "Not a directory");
  EXPECT_EQ(writer_.write("").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(writer_.write(directory_ / "").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(writer_.write(std::string("a\0b", 3)).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(files(), 1u);  // the FIFO
}

}  // namespace
