// What the reader does with files that are not what they should be: refuse with the place and the
// reason, or read them right; never crash, hang or hand out bytes that are not there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "gguf_hostile_cases.hpp"

namespace {

using namespace gguf_test;
using quantlinear::GgufAccess;
using quantlinear::GgufFile;

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

Raw small_file() {
  Raw f;
  f.head(2, 3).key("general.architecture", STRING).text("test").array("list", STRING).u64(2).text("a").text("bc");
  f.key("n", U32).u32(7).tensor("w.weight", {32, 2}, 8, 0).tensor("b", {3}, 0, 96).data(96 + 12);
  return f;
}

Raw aligned_file() {
  Raw f;
  f.head(1, 2).key("general.alignment", U32).u32(64).array("nested", ARRAY).u64(2).u32(U8).u64(1).raw("x");
  f.u32(STRING).u64(1).text("y").tensor("w", {256, 1, 1, 1}, 12, 0).data(144, 64);
  return f;
}

Raw old_file() {
  Raw f;
  f.start(2).u64(1).u64(2).key("flag", BOOL).raw("\x01").key("pi", F64).put(3.14159).tensor("t", {4, 0}, 0, 0).data(4);
  return f;
}

// ---- the catalogue -----------------------------------------------------------------------------

class Catalogue : public testing::TestWithParam<Case> {};

TEST_P(Catalogue, IsRefusedOrReadInEveryWay) {
  const Case& input = GetParam();
  Raw file;
  input.make(file);
  const Directory directory;
  for (const Way way : every_way) {
    SCOPED_TRACE(std::string(input.what) + ", " + to_string(way));
    const auto opened = open(file, way, directory);
    if (!input.refused) {
      ASSERT_TRUE(opened) << opened.error().message;
      std::string complaints;
      touch(*opened, complaints);
      EXPECT_EQ(complaints, "");
      EXPECT_TRUE(opened->check_unchanged());
      continue;
    }
    ASSERT_FALSE(opened);
    const auto& error = opened.error();
    EXPECT_EQ(error.code, *input.refused) << error.message;
    EXPECT_TRUE(contains(error.message, input.fragment)) << error.message;
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
    const std::string name = way == Way::memory ? "test.gguf" : (directory / "test.gguf").string();
    EXPECT_EQ(error.message.substr(0, name.size() + 2), name + ": ");
    ASSERT_TRUE(error.byte_offset) << error.message;
    EXPECT_TRUE(contains(error.message, " at byte " + std::to_string(*error.byte_offset) + ": ")) << error.message;
    if (file.marked) {
      EXPECT_EQ(*error.byte_offset, file.mark) << error.message;
    }
  }
  const auto next = open(small_file(), Way::memory, directory);  // a refusal leaves nothing behind
  EXPECT_TRUE(next) << next.error().message;
}

INSTANTIATE_TEST_SUITE_P(Number, Catalogue, testing::ValuesIn(hostile_cases()),
                         [](const auto& input) { return std::to_string(input.param.number); });

// ---- every prefix, every byte ------------------------------------------------------------------

TEST(Hostile, EveryPrefixIsRefusedOrWhole) {
  const Directory directory;
  const std::array<std::pair<Raw, std::size_t>, 3> files{{
      {small_file(), small_file().bytes.size()},
      {aligned_file(), aligned_file().bytes.size()},
      {old_file(), old_file().bytes.size() - 4 - 31},  // its only tensor is empty: data and padding may go
  }};
  for (const auto& [file, needed] : files) {
    for (std::size_t size = 0; size <= file.bytes.size(); ++size) {
      Raw prefix{file.bytes.substr(0, size)};
      for (const Way way : every_way) {
        const auto opened = open(prefix, way, directory);
        ASSERT_TRUE(opened || size < file.bytes.size()) << opened.error().message;
        ASSERT_TRUE(!opened || size >= needed) << size;
        if (opened) continue;
        EXPECT_EQ(opened.error().code, ErrorCode::malformed_file) << opened.error().message;
        ASSERT_TRUE(opened.error().byte_offset);
        EXPECT_LE(*opened.error().byte_offset, size);
      }
    }
  }
}

// Either an error with a place inside the file, or contents that can all be read.
void expect_verdict(const Raw& file, std::size_t changed_at) {
  const auto opened = GgufFile::parse(file.vector(), "changed");
  if (opened) {
    std::string complaints;
    touch(*opened, complaints);
    ASSERT_EQ(complaints, "") << changed_at;
  } else if (opened.error().byte_offset) {
    ASSERT_LE(*opened.error().byte_offset, file.bytes.size()) << opened.error().message;
    ASSERT_EQ(opened.error().message.find('\n'), std::string::npos);
  } else {
    ADD_FAILURE() << "no place: " << opened.error().message;
  }
}

TEST(Hostile, EveryByteTimesEveryValue) {
  for (const Raw& file : {small_file(), aligned_file(), old_file()}) {
    Raw changed = file;
    for (std::size_t at = 0; at < file.bytes.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        changed.bytes[at] = static_cast<char>(value);
        expect_verdict(changed, at);
      }
      changed.bytes[at] = file.bytes[at];
    }
  }
}

TEST(Hostile, EveryPositionTimesEdgeNumbers) {
  std::vector<std::uint64_t> edges;
  for (const unsigned bits : {8u, 16u, 30u, 31u, 32u, 61u, 62u, 63u}) {
    for (int around = -1; around <= 1; ++around) edges.push_back(pow2(bits) + static_cast<std::uint64_t>(around));
  }
  for (const std::uint64_t edge : {std::uint64_t{0}, std::uint64_t{1}, max64, max64 - 31, max64 - 63})
    edges.push_back(edge);
  for (const Raw& file : {small_file(), aligned_file(), old_file()}) {
    for (std::size_t at = 0; at + 8 <= file.bytes.size(); ++at) {
      for (const std::uint64_t edge : edges) {
        Raw changed = file;
        std::memcpy(changed.bytes.data() + at, &edge, 8);
        expect_verdict(changed, at);
        changed = file;
        std::memcpy(changed.bytes.data() + at, &edge, 4);
        expect_verdict(changed, at);
      }
    }
  }
}

// The seeds of the fuzzer, and whatever it has found: each must stay right in every build.
TEST(Hostile, FuzzCorpusIsReplayed) {
  std::size_t files = 0;
  const auto corpus = std::filesystem::path(QUANTLINEAR_TEST_DATA_DIR) / "../fuzz/corpus/gguf_open";
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    expect_verdict({std::string(std::istreambuf_iterator<char>(stream), {})}, 0);
    ++files;
  }
  EXPECT_GE(files, 45u);
}

// ---- paths that are no files (172-181) -----------------------------------------------------------

void expect_refused(const std::filesystem::path& path, ErrorCode code, std::string_view fragment) {
  for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
    const auto opened = GgufFile::open(path, {access});
    ASSERT_FALSE(opened) << path;
    EXPECT_EQ(opened.error().code, code) << opened.error().message;
    EXPECT_TRUE(contains(opened.error().message, fragment)) << opened.error().message;
  }
}

TEST(HostilePath, WhatIsNoRegularFileIsRefusedByName) {
  const Directory directory;
  expect_refused(directory.path(), ErrorCode::io, "is a directory, expected a regular file");
  ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
  expect_refused(directory / "fifo", ErrorCode::io, "is a FIFO");  // and must not wait for a writer
  expect_refused("/dev/zero", ErrorCode::io, "is a character device");
  expect_refused("/dev/null", ErrorCode::io, "is a character device");
  expect_refused("/proc/self/status", ErrorCode::malformed_file, "found an empty file");
  expect_refused(directory / "missing", ErrorCode::io, "cannot open: No such file or directory");
  expect_refused("", ErrorCode::io, "cannot open");

  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_GE(socket, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = (directory / "socket").string();
  ASSERT_LT(name.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  expect_refused(directory / "socket", ErrorCode::io, "is a socket");
  ::close(socket);
}

TEST(HostilePath, LinksAndPermissions) {
  const Directory directory;
  const auto file = directory.write("file.gguf", small_file().bytes);
  std::filesystem::create_symlink(directory / "nowhere", directory / "dangling");
  std::filesystem::create_symlink(directory / "loop", directory / "loop");
  std::filesystem::create_symlink(file, directory / "link.gguf");
  expect_refused(directory / "dangling", ErrorCode::io, "cannot open: No such file or directory");
  expect_refused(directory / "loop", ErrorCode::io, "cannot open: Too many levels of symbolic links");
  expect_refused(file / "below", ErrorCode::io, "cannot open: Not a directory");
  EXPECT_TRUE(GgufFile::open(directory / "link.gguf"));
  std::filesystem::permissions(file, std::filesystem::perms::none);
  if (::geteuid() != 0) expect_refused(file, ErrorCode::io, "cannot open: Permission denied");  // root may read all
  expect_refused(std::string("with\0NUL", 8), ErrorCode::invalid_argument, "the path holds a NUL character");
}

TEST(HostilePath, MessagesAreOneLineOfUtf8) {
  const Directory directory;
  const auto path = directory.write("bad\n\xFF\xC3\xA9.gguf", "no GGUF");
  const auto opened = GgufFile::open(path);
  ASSERT_FALSE(opened);
  EXPECT_TRUE(contains(opened.error().message, "bad\\x0a\\xff\xC3\xA9.gguf: magic at byte 0"))
      << opened.error().message;
}

TEST(HostilePath, NoDescriptorsLeft) {
  const Directory directory;
  const auto path = directory.write("file.gguf", small_file().bytes);
  const int next = ::dup(0);
  ::close(next);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto opened = GgufFile::open(path);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::io);
  EXPECT_TRUE(contains(opened.error().message, "Too many open files")) << opened.error().message;
}

// Neither a refusal nor an open and forgotten file may keep a descriptor.
TEST(HostilePath, NoDescriptorsAreLost) {
  const Directory directory;
  const auto good = directory.write("good.gguf", small_file().bytes);
  const auto bad = directory.write("bad.gguf", small_file().bytes.substr(0, 100));
  const int before = ::dup(0);
  ::close(before);
  for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
    EXPECT_TRUE(GgufFile::open(good, {access}));
    EXPECT_FALSE(GgufFile::open(bad, {access}));
    EXPECT_FALSE(GgufFile::open(directory.path(), {access}));
  }
  const int after = ::dup(0);
  ::close(after);
  EXPECT_EQ(before, after);
}

// ---- huge files (182-184), sparse on disk ---------------------------------------------------------

TEST(HostileSize, TensorPastFourGiB) {
  const Directory directory;
  Raw file;
  file.head(2, 0).tensor("big", {pow2(33)}, 24, 0).tensor("last", {8}, 0, pow2(33)).data(0);
  const auto path = directory.write("big.gguf", file.bytes);
  const std::uint64_t size = file.bytes.size() + pow2(33) + 32;
  if (::truncate(path.c_str(), static_cast<off_t>(size)) != 0) GTEST_SKIP() << "no sparse files of 8 GiB here";
  {
    const auto opened = GgufFile::open(path);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->tensor_bytes(), pow2(33) + 32);
    const auto big = opened->bytes("big");
    const auto last = opened->bytes("last");
    ASSERT_TRUE(big && last);
    EXPECT_EQ(big->size(), pow2(33));
    EXPECT_EQ(big->bytes().back(), std::byte{0});
    EXPECT_EQ(last->bytes().data() - big->bytes().data(), static_cast<std::ptrdiff_t>(pow2(33)));
    EXPECT_EQ(last->bytes()[31], std::byte{0});
  }
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(size - 1)), 0);
  const auto opened = GgufFile::open(path);
  ASSERT_FALSE(opened);
  EXPECT_TRUE(contains(opened.error().message, "tensor offset (1, last)")) << opened.error().message;
}

// What a header claims costs nothing; what it really holds is limited.
TEST(HostileSize, HeaderPastTheLimit) {
  const Directory directory;
  Raw file;
  file.head(0, 1).array("k", U8).u64(pow2(36));
  const auto path = directory.write("header.gguf", file.bytes);
  if (::truncate(path.c_str(), static_cast<off_t>(pow2(37))) != 0) GTEST_SKIP() << "no sparse files of 128 GiB here";
  const auto opened = GgufFile::open(path);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::unsupported);
  EXPECT_TRUE(contains(opened.error().message, "the header would pass the limit of 1073741824 bytes"))
      << opened.error().message;
}

// ---- files that change (185-187) -------------------------------------------------------------------

TEST(HostileChange, IsToldByCheckUnchanged) {
  const Directory directory;
  const auto path = directory.write("file.gguf", small_file().bytes);
  const auto size = static_cast<off_t>(small_file().bytes.size());
  for (const off_t to : {off_t{0}, size - 1, size + 1}) {
    directory.write("file.gguf", small_file().bytes);
    const auto mapped = GgufFile::open(path, {GgufAccess::map});
    const auto read = GgufFile::open(path, {GgufAccess::read});
    ASSERT_TRUE(mapped && read);
    std::string complaints;
    const std::uint64_t sum = touch(*read, complaints);
    EXPECT_TRUE(mapped->check_unchanged());
    ASSERT_EQ(::truncate(path.c_str(), to), 0);
    const auto changed = mapped->check_unchanged();
    ASSERT_FALSE(changed);
    EXPECT_EQ(changed.error().code, ErrorCode::data_changed);
    EXPECT_TRUE(contains(changed.error().message, "found a size of " + std::to_string(to))) << changed.error().message;
    EXPECT_TRUE(read->check_unchanged());
    EXPECT_EQ(touch(*read, complaints), sum);  // own memory: immune
    EXPECT_EQ(complaints, "");
  }
}

TEST(HostileChange, OverwrittenInPlace) {
  const Directory directory;
  const auto path = directory.write("file.gguf", small_file().bytes);
  const auto opened = GgufFile::open(path);
  ASSERT_TRUE(opened);
  const int descriptor = ::open(path.c_str(), O_WRONLY);
  ASSERT_EQ(::pwrite(descriptor, "?", 1, static_cast<off_t>(small_file().bytes.size() - 1)), 1);
  const timespec times[2] = {{1, 0}, {1, 0}};  // whatever the granularity of the clock
  ASSERT_EQ(::futimens(descriptor, times), 0);
  ::close(descriptor);
  const auto changed = opened->check_unchanged();
  ASSERT_FALSE(changed);
  EXPECT_TRUE(contains(changed.error().message, "was modified since it was opened")) << changed.error().message;
  // The metadata was copied: overwriting the header cannot reach it.
  directory.write("file.gguf", std::string(small_file().bytes.size(), '\xFF'));
  EXPECT_EQ(opened->metadata().get<std::string>("general.architecture").value_or(""), "test");
}

TEST(HostileChange, ReplacedByRenameStaysTheOldFile) {
  const Directory directory;
  const auto path = directory.write("file.gguf", small_file().bytes);
  const auto opened = GgufFile::open(path);
  ASSERT_TRUE(opened);
  std::string complaints;
  const std::uint64_t sum = touch(*opened, complaints);
  std::filesystem::rename(directory.write("other.gguf", std::string(10, 'x')), path);
  EXPECT_TRUE(opened->check_unchanged());
  EXPECT_EQ(touch(*opened, complaints), sum);
  std::filesystem::remove(path);
  EXPECT_TRUE(opened->check_unchanged());
  EXPECT_EQ(touch(*opened, complaints), sum);
}

}  // namespace
