// What the reader makes of good files.
#include "quantlinear/gguf.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <utility>

#include "gguf_raw.hpp"

namespace {

using namespace gguf_test;
using quantlinear::ErrorCode;
using quantlinear::GgufAccess;
using quantlinear::GgufArray;
using quantlinear::GgufDims;
using quantlinear::GgufFile;
using quantlinear::GgufMetadata;
using quantlinear::GgufQuantType;
using quantlinear::GgufTensorInfo;
using quantlinear::GgufValue;
using quantlinear::GgufValueType;
using quantlinear::QuantBytes;

// The file must open; the test stops otherwise.
GgufFile parsed(const Raw& file) {
  auto opened = GgufFile::parse(file.vector(), "test.gguf");
  if (!opened) throw std::runtime_error(opened.error().message);
  return *opened;
}

Raw every_type() {
  Raw f;
  f.head(0, 26);
  f.key("u8", U8).put<std::uint8_t>(255).key("i8", I8).put<std::int8_t>(-128);
  f.key("u16", U16).put<std::uint16_t>(65535).key("i16", I16).put<std::int16_t>(-32768);
  f.key("u32", U32).u32(4294967295u).key("i32", I32).put<std::int32_t>(-2147483647 - 1);
  f.key("f32", F32).put(1.5f).key("bool", BOOL).raw("\x01").key("string", STRING).text("text");
  f.key("u64", U64).u64(max64).key("i64", I64).put(std::numeric_limits<std::int64_t>::min()).key("f64", F64).put(-2.5);
  f.array("[u8]", U8).u64(2).raw("\x01\xFF").array("[i8]", I8).u64(2).raw("\x01\xFF");
  f.array("[u16]", U16).u64(2).put<std::uint16_t>(1).put<std::uint16_t>(65535);
  f.array("[i16]", I16).u64(2).put<std::int16_t>(1).put<std::int16_t>(-1);
  f.array("[u32]", U32).u64(2).u32(1).u32(4294967295u);
  f.array("[i32]", I32).u64(2).put<std::int32_t>(1).put<std::int32_t>(-1);
  f.array("[f32]", F32).u64(2).put(0.5f).put(-0.5f).array("[bool]", BOOL).u64(3).raw({"\x01\0\x01", 3});
  f.array("[string]", STRING).u64(3).text("one").text("").text("three");
  f.array("[u64]", U64).u64(1).u64(max64).array("[i64]", I64).u64(1).put<std::int64_t>(-1);
  f.array("[f64]", F64).u64(1).put(1e300).array("[]", F32).u64(0);
  f.array("[[]]", ARRAY).u64(2).u32(U16).u64(1).put<std::uint16_t>(7).u32(STRING).u64(1).text("deep");
  return f;
}

TEST(GgufMetadata, EveryTypeComesBack) {
  const GgufMetadata m = parsed(every_type()).metadata();  // a handle: outlives the file
  EXPECT_EQ(m.get<std::uint8_t>("u8"), 255);
  EXPECT_EQ(m.get<std::int8_t>("i8"), -128);
  EXPECT_EQ(m.get<std::uint16_t>("u16"), 65535);
  EXPECT_EQ(m.get<std::int16_t>("i16"), -32768);
  EXPECT_EQ(m.get<std::uint32_t>("u32"), 4294967295u);
  EXPECT_EQ(m.get<std::int32_t>("i32"), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(m.get<float>("f32"), 1.5f);
  EXPECT_EQ(m.get<bool>("bool"), true);
  EXPECT_EQ(m.get<std::string>("string"), "text");
  EXPECT_EQ(m.get<std::string_view>("string"), "text");
  EXPECT_EQ(m.get<std::uint64_t>("u64"), max64);
  EXPECT_EQ(m.get<std::int64_t>("i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(m.get<double>("f64"), -2.5);
  EXPECT_EQ(m.get<std::vector<std::uint8_t>>("[u8]"), (std::vector<std::uint8_t>{1, 255}));
  EXPECT_EQ(m.get<std::vector<std::int8_t>>("[i8]"), (std::vector<std::int8_t>{1, -1}));
  EXPECT_EQ(m.get<std::vector<std::uint16_t>>("[u16]"), (std::vector<std::uint16_t>{1, 65535}));
  EXPECT_EQ(m.get<std::vector<std::int16_t>>("[i16]"), (std::vector<std::int16_t>{1, -1}));
  EXPECT_EQ(m.get<std::vector<std::uint32_t>>("[u32]"), (std::vector<std::uint32_t>{1, 4294967295u}));
  EXPECT_EQ(m.get<std::vector<std::int32_t>>("[i32]"), (std::vector<std::int32_t>{1, -1}));
  EXPECT_EQ(m.get<std::vector<float>>("[f32]"), (std::vector<float>{0.5f, -0.5f}));
  EXPECT_EQ(m.get<std::vector<bool>>("[bool]"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(m.get<std::vector<std::string>>("[string]"), (std::vector<std::string>{"one", "", "three"}));
  EXPECT_EQ(m.get<std::vector<std::string_view>>("[string]"), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(m.get<std::vector<std::uint64_t>>("[u64]"), (std::vector<std::uint64_t>{max64}));
  EXPECT_EQ(m.get<std::vector<std::int64_t>>("[i64]"), (std::vector<std::int64_t>{-1}));
  EXPECT_EQ(m.get<std::vector<double>>("[f64]"), (std::vector<double>{1e300}));
  EXPECT_EQ(m.get<std::vector<float>>("[]"), std::vector<float>{});
  const GgufArray nested{std::vector<GgufArray>{{std::vector<std::uint16_t>{7}}, {std::vector<std::string>{"deep"}}}};
  EXPECT_EQ(m.get<GgufArray>("[[]]"), nested);
  EXPECT_EQ(m.get<GgufValue>("[[]]"), GgufValue(nested));
  EXPECT_EQ(m.get<GgufValue>("i8"), GgufValue(std::int8_t{-128}));
}

TEST(GgufMetadata, EntriesComeInFileOrder) {
  const GgufMetadata m = parsed(every_type()).metadata();
  ASSERT_EQ(m.size(), 26u);
  std::uint32_t scalars = 0, arrays = 0;
  std::uint64_t last = 0;
  for (const auto& entry : m) {
    EXPECT_GT(entry.byte_offset, last);
    last = entry.byte_offset;
    const auto value = entry.value();
    ASSERT_TRUE(value);
    EXPECT_EQ(type_of(*value), entry.type);
    EXPECT_EQ(m.get<GgufValue>(entry.key), *value);
    if (const auto* array = std::get_if<GgufArray>(&*value)) {
      ++arrays;
      EXPECT_EQ(array->element_type(), entry.element_type);
      EXPECT_EQ(array->size(), entry.count);
      EXPECT_EQ(entry.key.front(), '[');
    } else {
      ++scalars;
      EXPECT_EQ(entry.key, to_string(entry.type));
    }
  }
  EXPECT_EQ(scalars, 12u);
  EXPECT_EQ(arrays, 14u);
  EXPECT_EQ(m[0].key, "u8");
  EXPECT_EQ(m[26].key, "");  // past the end: empty, and decodes to an error
  EXPECT_FALSE(m[26].value());
}

TEST(GgufMetadata, MissingKeysAndOtherTypesAreErrorsNamingTheKey) {
  const GgufMetadata m = parsed(every_type()).metadata();
  const auto missing = m.get<std::uint32_t>("u33");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_EQ(missing.error().message,
            "test.gguf: metadata key \"u33\" does not exist, did you mean \"u32\", \"u8\", \"u16\"");
  const auto other = m.get<std::uint64_t>("u32");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(other.error().byte_offset, m.find("u32")->byte_offset);
  EXPECT_EQ(other.error().message, "test.gguf: value of metadata key \"u32\" at byte " +
                                       std::to_string(m.find("u32")->byte_offset) + ": found u32, expected u64");
  EXPECT_NE(m.get<std::vector<float>>("[u8]").error().message.find("found array of u8, expected array of f32"),
            std::string::npos);
  EXPECT_NE(m.get<std::string>("[string]").error().message.find("found array of string, expected string"),
            std::string::npos);
  EXPECT_EQ(m.get_or<std::uint32_t>("absent", 7), 7u);
  EXPECT_EQ(m.get_or<std::uint32_t>("u32", 7), 4294967295u);
  EXPECT_FALSE(m.get_or<std::uint32_t>("u8", 7));
  EXPECT_FALSE(GgufMetadata().get<bool>("x"));
  EXPECT_EQ(GgufMetadata().size(), 0u);
}

TEST(GgufMetadata, BytesThatAreNoTextAreKept) {
  Raw f;
  const std::string odd("\xFF\0\n\xC3", 4);
  f.head(0, 2).key(odd, STRING).text(odd).key({"\xFF\0\n", 3}, STRING).text("shorter");
  const GgufMetadata m = parsed(f).metadata();
  EXPECT_EQ(m.get<std::string>(odd), odd);
  EXPECT_EQ(m.get<std::string>({"\xFF\0\n", 3}), "shorter");
  EXPECT_EQ(m.get<bool>(odd).error().message.find('\n'), std::string::npos);
}

// ---- tensors -------------------------------------------------------------------------------------

TEST(GgufFile, GoldenFilesOpenTheSameInEveryWay) {
  std::size_t files = 0;
  for (const auto& path : std::filesystem::directory_iterator(QUANTLINEAR_GOLDEN_DIR)) {
    if (path.path().extension() != ".gguf") continue;
    ++files;
    std::ifstream stream(path.path(), std::ios::binary);
    const Raw raw{std::string(std::istreambuf_iterator<char>(stream), {})};
    const auto mapped = GgufFile::open(path.path());
    const auto read = GgufFile::open(path.path(), {GgufAccess::read});
    const auto memory = GgufFile::parse(raw.vector(), path.path().string());
    ASSERT_TRUE(mapped && read && memory) << path;
    EXPECT_EQ(mapped->total_bytes(), raw.bytes.size());
    EXPECT_EQ(mapped->version(), 3u);
    EXPECT_EQ(mapped->alignment(), 32u);
    EXPECT_EQ(mapped->metadata().get<std::string>("general.architecture"), "golden");
    const auto kind = quantlinear::quant_type_from_name(*mapped->metadata().get<std::string>("golden.type"));
    EXPECT_EQ(mapped->find("w.weight").value()->kind(), kind);
    std::string complaints;
    const std::uint64_t sum = touch(*mapped, complaints);
    EXPECT_EQ(touch(*read, complaints), sum);
    EXPECT_EQ(touch(*memory, complaints), sum);
    EXPECT_EQ(complaints, "");
    for (const GgufTensorInfo& tensor : mapped->tensors()) {
      const auto bytes = mapped->bytes(tensor);
      ASSERT_TRUE(bytes);
      EXPECT_EQ(std::memcmp(bytes->bytes().data(), raw.bytes.data() + tensor.offset, tensor.bytes), 0);
      EXPECT_EQ(bytes->residence(), QuantBytes::Residence::mapped);
      EXPECT_EQ(read->bytes(tensor.name)->residence(), QuantBytes::Residence::owned);
      // Own memory keeps the alignment of the file.
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(read->bytes(tensor)->bytes().data()) % 32, 0u);
    }
  }
  EXPECT_EQ(files, quantlinear::quant_types().size());
}

TEST(GgufFile, EveryTensorTypeHasItsSize) {
  struct Type {
    std::uint32_t id;
    std::string name;
    std::uint64_t elements, bytes;
  };
  std::vector<Type> types{{9, "Q8_1", 32, 36}, {15, "Q8_K", 256, 292}, {24, "I8", 1, 1}, {25, "I16", 1, 2},
                          {26, "I32", 1, 4},   {27, "I64", 1, 8},      {28, "F64", 1, 8}};
  for (const auto& info : quantlinear::quant_types()) {
    types.push_back(
        {static_cast<std::uint32_t>(info.type), std::string(info.name), info.block_elements, info.block_bytes});
  }
  EXPECT_EQ(types.size(), 35u);
  for (const Type& type : types) {
    Raw f;
    f.head(1, 0).tensor("w", {type.elements * 3, 5, 2}, type.id, 0).data(type.bytes * 30);
    const GgufFile file = parsed(f);
    const GgufTensorInfo& w = *file.find("w").value();
    EXPECT_EQ(w.bytes, type.bytes * 30) << type.name;
    EXPECT_EQ(w.type_name(), type.name);
    EXPECT_EQ(w.in_features(), type.elements * 3);
    EXPECT_EQ(w.rows(), 10u);
    EXPECT_EQ(w.kind().has_value(), quantlinear::quant_type_from_id(type.id).has_value());
  }
  GgufTensorInfo removed;
  removed.type_id = 4;
  EXPECT_EQ(removed.type_name(), "unknown");
  EXPECT_FALSE(removed.kind());
}

TEST(GgufFile, DimensionsAreARangeAndReadAsOnesBeyond) {
  Raw f;
  f.head(2, 0).tensor("scalar", {}, 0, 0).tensor("w", {8, 3}, 0, 32).data(32 + 96);
  const GgufFile file = parsed(f);
  const GgufDims scalar = file.find("scalar").value()->dims, w = file.find("w").value()->dims;
  EXPECT_EQ(scalar.size(), 0u);
  EXPECT_EQ(scalar[0], 1u);
  EXPECT_EQ(file.find("scalar").value()->rows(), 1u);
  EXPECT_EQ(std::vector<std::uint64_t>(w.begin(), w.end()), (std::vector<std::uint64_t>{8, 3}));
  EXPECT_EQ(w[2], 1u);
  EXPECT_EQ(w[99], 1u);
}

TEST(GgufFile, FindNamesTheNearest) {
  Raw f;
  f.head(3, 0).tensor("blk.0.attn_q.weight", {8}, 0, 0).tensor("blk.0.attn_k.weight", {8}, 0, 32);
  f.tensor("output.weight", {8}, 0, 64).data(96);
  const GgufFile file = parsed(f);
  EXPECT_TRUE(file.contains("output.weight"));
  EXPECT_FALSE(file.contains("output.bias"));
  const auto missing = file.find("blk.0.attn_q.weigth");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_EQ(missing.error().message,
            "test.gguf: tensor \"blk.0.attn_q.weigth\" does not exist, did you mean "
            "\"blk.0.attn_q.weight\", \"blk.0.attn_k.weight\"");
  EXPECT_EQ(file.bytes("nope").error().code, ErrorCode::not_found);
}

TEST(GgufFile, BytesOutliveTheFile) {
  const Directory directory;
  Raw f;
  f.head(1, 0).tensor("w", {32}, 0, 0).data(128);
  for (const Way way : every_way) {
    QuantBytes bytes;
    {
      const auto file = open(f, way, directory);
      ASSERT_TRUE(file);
      bytes = *file->bytes("w");
    }
    std::filesystem::remove(directory / "test.gguf");
    EXPECT_EQ(std::memcmp(bytes.bytes().data(), f.bytes.data() + f.bytes.size() - 128, 128), 0) << to_string(way);
  }
}

TEST(GgufFile, InfosThatAreNotOfThisFileGetNoBytes) {
  const Directory directory;
  Raw f;
  f.head(1, 0).tensor("w", {32}, 0, 0).data(128);
  for (const Way way : every_way) {
    const auto file = open(f, way, directory);
    ASSERT_TRUE(file);
    const GgufTensorInfo good = file->tensors()[0];
    for (const auto& [part, offset, bytes] :
         {std::tuple{1u, good.offset, good.bytes}, std::tuple{0u, good.offset + 1, good.bytes},
          std::tuple{0u, max64, std::uint64_t{2}}, std::tuple{0u, good.offset, max64}}) {
      GgufTensorInfo wrong = good;
      wrong.part = part;
      wrong.offset = offset;
      wrong.bytes = bytes;
      const auto got = file->bytes(wrong);
      ASSERT_FALSE(got);
      EXPECT_EQ(got.error().code, ErrorCode::invalid_argument);
    }
    GgufTensorInfo header = good;  // of the file, but not of its data
    header.offset = 0;
    EXPECT_EQ(file->bytes(header).has_value(), way != Way::read);
  }
}

TEST(GgufFile, TellsWhereItCameFrom) {
  const Directory directory;
  Raw f;
  f.start(2).u64(1).u64(1).key("general.alignment", U32).u32(64).tensor("w", {32}, 0, 0).data(128, 64);
  for (const Way way : every_way) {
    const auto file = open(f, way, directory);
    ASSERT_TRUE(file);
    EXPECT_EQ(file->version(), 2u);
    EXPECT_EQ(file->alignment(), 64u);
    EXPECT_EQ(file->total_bytes(), f.bytes.size());
    EXPECT_EQ(file->tensor_bytes(), 128u);
    ASSERT_EQ(file->parts().size(), 1u);
    EXPECT_EQ(file->parts()[0], way == Way::memory ? std::filesystem::path("test.gguf") : directory / "test.gguf");
  }
}

TEST(GgufFile, ManyThreadsReadAtOnce) {
  const auto file = GgufFile::open(std::filesystem::path(QUANTLINEAR_GOLDEN_DIR) / "q4_K.gguf");
  ASSERT_TRUE(file);
  std::string complaints;
  const std::uint64_t expected = touch(*file, complaints);
  std::vector<std::uint64_t> sums(8);
  std::vector<std::thread> threads;
  for (std::uint64_t& sum : sums) {
    threads.emplace_back([&sum, copy = *file] {
      std::string own;
      for (int i = 0; i < 5; ++i) sum = touch(copy, own);
      if (!copy.check_unchanged() || copy.find("nope") || copy.metadata().get<bool>("nope")) sum = 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sums, std::vector<std::uint64_t>(8, expected));
}

}  // namespace
