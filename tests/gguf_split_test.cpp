// Split sets: one model from any of its parts, or a refusal that says which part and key is wrong.
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <string_view>

#include "gguf_raw.hpp"

namespace {

using namespace gguf_test;
using quantlinear::ErrorCode;
using quantlinear::GgufAccess;
using quantlinear::GgufFile;

std::string part_name(unsigned number, unsigned count) {
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05u-of-%05u.gguf", number, count);
  return name;
}

// One part as llama.cpp writes it; tensor t<no> holds 8 floats. `fields` are the split keys.
struct Part {
  std::uint64_t no = 0, count = 3;
  std::int64_t tensors = 3;
  std::string tensor;  // its name; "t<no>" if empty
  bool no_as_string = false;
  bool with_keys = true;
  std::string before = {};  // the name of a tensor in front of it, of two rows of 4 floats

  [[nodiscard]] Raw file() const {
    Raw f;
    f.head(before.empty() ? 1 : 2, with_keys ? 4 : 1).key("general.name", STRING).text(no == 0 ? "first" : "later");
    if (with_keys) {
      if (no_as_string) {
        f.key("split.no", STRING).text("0");
      } else {
        f.key("split.no", U16).put(static_cast<std::uint16_t>(no));
      }
      f.key("split.count", U16).put(static_cast<std::uint16_t>(count));
      f.key("split.tensors.count", I32).put(static_cast<std::int32_t>(tensors));
    }
    std::string name = tensor;
    if (name.empty()) name.append("t").append(std::to_string(no));
    if (!before.empty()) f.tensor(before, {4, 2}, 0, 0);
    f.tensor(name, {8}, 0, before.empty() ? 0 : 32).data(before.empty() ? 0 : 32);
    for (int i = 0; i < 8; ++i) f.put(static_cast<float>(no * 10) + static_cast<float>(i));
    return f;
  }
};

class GgufSplit : public testing::Test {
 protected:
  // A good set of three; tests then break one part.
  GgufSplit() {
    for (unsigned no = 0; no < 3; ++no) write(no, Part{.no = no, .tensor = {}});
  }
  void write(unsigned no, const Part& part) { directory_.write(part_name(no + 1, 3), part.file().bytes); }
  [[nodiscard]] std::filesystem::path path(unsigned no) const { return directory_ / part_name(no + 1, 3); }

  // Whichever part is named, the set is refused, and the message names part `guilty` and says `why`.
  void expect_refused(unsigned guilty, std::string_view why, ErrorCode code = ErrorCode::malformed_file) {
    for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
      const auto opened = GgufFile::open(path(guilty), {access});
      ASSERT_FALSE(opened);
      EXPECT_EQ(opened.error().code, code) << opened.error().message;
      EXPECT_TRUE(opened.error().message.starts_with(path(guilty).string() + ": ")) << opened.error().message;
      EXPECT_NE(opened.error().message.find(why), std::string::npos) << opened.error().message;
      if (const auto at = opened.error().byte_offset) {
        const std::string place = " at byte " + std::to_string(*at) + ": ";
        EXPECT_NE(opened.error().message.find(place), std::string::npos) << opened.error().message;
      }
      for (unsigned no = 0; no < 3; ++no) {
        const auto other = GgufFile::open(path(no), {access});
        ASSERT_FALSE(other);
        EXPECT_EQ(other.error().code, code) << other.error().message;
      }
    }
  }

  Directory directory_;
};

TEST_F(GgufSplit, OpensFromAnyPart) {
  for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
    for (unsigned named = 0; named < 3; ++named) {
      const auto model = GgufFile::open(path(named), {access});
      ASSERT_TRUE(model) << model.error().message;
      EXPECT_EQ(model->metadata().get<std::string>("general.name"), "first");
      ASSERT_EQ(model->parts().size(), 3u);
      ASSERT_EQ(model->tensors().size(), 3u);
      std::uint64_t total = 0;
      for (unsigned no = 0; no < 3; ++no) {
        EXPECT_EQ(model->parts()[no], path(no));
        EXPECT_EQ(model->tensors()[no].part, no);
        total += std::filesystem::file_size(path(no));
        const auto bytes = model->bytes(std::string{'t', static_cast<char>('0' + no)});
        ASSERT_TRUE(bytes);
        float last;
        std::memcpy(&last, bytes->bytes().data() + 28, 4);
        EXPECT_EQ(last, static_cast<float>(no * 10 + 7));
      }
      EXPECT_EQ(model->total_bytes(), total);
      EXPECT_EQ(model->tensor_bytes(), 96u);
      EXPECT_TRUE(model->check_unchanged());
    }
  }
}

TEST_F(GgufSplit, OpensByARelativePath) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory_.path());
  const auto model = GgufFile::open(part_name(2, 3));
  std::filesystem::current_path(before);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->tensors().size(), 3u);
}

TEST_F(GgufSplit, ChangesOfEveryPartAreSeen) {
  const auto model = GgufFile::open(path(0));
  ASSERT_TRUE(model);
  std::filesystem::resize_file(path(2), std::filesystem::file_size(path(2)) + 1);
  const auto changed = model->check_unchanged();
  ASSERT_FALSE(changed);
  EXPECT_TRUE(changed.error().message.starts_with(path(2).string())) << changed.error().message;
}

// ---- the catalogue: 161-171 ----------------------------------------------------------------------

TEST_F(GgufSplit, N161_PartsMissing) {
  std::filesystem::remove(path(1));
  const auto one = GgufFile::open(path(0));
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().code, ErrorCode::io);
  EXPECT_NE(one.error().message.find("is part 1 of a split set of 3, missing beside it: part 2 (model-0000"),
            std::string::npos)
      << one.error().message;
  std::filesystem::remove(path(0));
  const auto two = GgufFile::open(path(2));
  ASSERT_FALSE(two);
  EXPECT_NE(two.error().message.find("is part 3 of a split set of 3, missing beside it: part 1, 2 ("),
            std::string::npos)
      << two.error().message;
}

TEST_F(GgufSplit, N162_PartCut) {
  std::filesystem::resize_file(path(1), std::filesystem::file_size(path(1)) - 1);
  expect_refused(1, "tensor offset (0, t1) at byte ");
}

TEST_F(GgufSplit, N163_WrongNumber) {
  write(1, {.no = 2, .tensor = "t1"});
  expect_refused(1, "found 2, expected 1 by the name of the file");
}

TEST_F(GgufSplit, N164_NumberAsString) {
  write(1, {.no = 1, .tensor = {}, .no_as_string = true});
  expect_refused(1, "\"split.no\" at byte ");
}

TEST_F(GgufSplit, N165_KeysMissing) {
  write(1, {.no = 1, .tensor = {}, .with_keys = false});
  expect_refused(1, "does not exist, each part of a split set needs it");
  for (unsigned no = 0; no < 3; ++no) write(no, {.no = no, .tensor = {}, .with_keys = false});
  expect_refused(0, "metadata key \"split.count\" does not exist");  // by its name it is a third of a model
}

TEST_F(GgufSplit, N166_CountsDiffer) {
  write(1, {.no = 1, .count = 4, .tensor = {}});
  expect_refused(1, "found 4, expected 3");
}

TEST_F(GgufSplit, N167_TotalWrong) {
  for (unsigned no = 0; no < 3; ++no) write(no, {.no = no, .tensors = 4, .tensor = {}});
  expect_refused(0, "found 4, the parts hold 3 tensors");
}

TEST_F(GgufSplit, TotalsDiffer) {
  write(2, {.no = 2, .tensors = 2, .tensor = {}});
  const auto opened = GgufFile::open(path(0));
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("found 2, expected 3 as in " + path(0).string()), std::string::npos)
      << opened.error().message;
}

TEST_F(GgufSplit, N168_NameInBoth) {
  for (unsigned no = 0; no < 2; ++no) write(no, {.no = no, .tensors = 4, .tensor = {}});
  write(2, {.no = 2, .tensors = 4, .tensor = "t0", .before = "other"});
  const auto opened = GgufFile::open(path(0));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::malformed_file);
  ASSERT_TRUE(opened.error().byte_offset);
  EXPECT_EQ(opened.error().message, path(2).string() + ": tensor name (1, t0) at byte " +
                                        std::to_string(*opened.error().byte_offset) + ": found in this part and in " +
                                        path(0).string() + ", names must be unique");
  std::ifstream part(path(2), std::ios::binary);
  part.seekg(static_cast<std::streamoff>(*opened.error().byte_offset));
  std::array<char, 10> record{};
  part.read(record.data(), record.size());
  EXPECT_EQ(std::string_view(record.data(), record.size()), std::string_view("\2\0\0\0\0\0\0\0t0", 10));
}

// 169, opened at part 2, is OpensFromAnyPart.

TEST_F(GgufSplit, N170_Count65535) {
  const auto lonely = directory_.write("model-00001-of-65535.gguf", Part{.count = 65535, .tensor = {}}.file().bytes);
  const auto opened = GgufFile::open(lonely);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("part 2, 3, 4, 5, 6, 7, 8, 9 and 65526 more"), std::string::npos)
      << opened.error().message;
}

TEST_F(GgufSplit, N171_CountNegative) {
  write(1, {.no = 1, .tensors = -1, .tensor = {}});
  expect_refused(1, "found -1, expected at least 0");
}

// ---- names -----------------------------------------------------------------------------------------

TEST_F(GgufSplit, OtherNamesAreRefusedAndSayWhatIsExpected) {
  const auto renamed = directory_.write("weights.gguf", Part{.no = 1, .tensor = {}}.file().bytes);
  const auto opened = GgufFile::open(renamed);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find(
                "found 3, so this is part 2 of a split set, but it is not named NAME-00002-of-00003.gguf"),
            std::string::npos)
      << opened.error().message;
  for (const char* name : {"model-00000-of-00003.gguf", "model-00004-of-00003.gguf"}) {
    EXPECT_FALSE(GgufFile::open(directory_.write(name, Part{.no = 1, .tensor = {}}.file().bytes))) << name;
  }
}

TEST_F(GgufSplit, SetsOfOneAreSingleFiles) {
  for (const unsigned count : {0u, 1u}) {  // merged files keep the keys with a count of 0
    const auto merged = directory_.write("merged.gguf", Part{.count = count, .tensors = 1, .tensor = {}}.file().bytes);
    EXPECT_TRUE(GgufFile::open(merged)) << count;
  }
  EXPECT_TRUE(GgufFile::open(
      directory_.write("model-00001-of-00001.gguf", Part{.tensor = {}, .with_keys = false}.file().bytes)));
}

TEST_F(GgufSplit, PartsInMemoryAreRefused) {
  const auto opened = GgufFile::parse(Part{.tensor = {}}.file().vector(), part_name(1, 3));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::unsupported);
  EXPECT_NE(
      opened.error().message.find("found 3, so this is part 1 of a split set, which can only be opened from files"),
      std::string::npos)
      << opened.error().message;
}

}  // namespace
