// The system says no: each call that the reader and the writer make of it fails once at every place
// where it is made, is interrupted, or does half of what it was asked. That must be an error value,
// with nothing left open or lying about, or make no difference at all.
//
// The functions below take the place of those of the C library for this program.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "gguf_raw.hpp"
#include "quantlinear/gguf_writer.hpp"

namespace {

enum class Call { none, open, fstat, pread, mmap, write, fsync, close, rename };

// The fault to come: call number `countdown` (from 0) of `call` fails with `error`; with 0 for the
// error it does one byte only (pread, write), and with -1 it says end of file (pread).
struct Fault {
  Call call = Call::none;
  long countdown = 0;
  int error = 0;
  bool for_ever = false;
};
Fault fault;

bool strikes(Call call) {
  if (fault.call != call || fault.countdown < 0) return false;
  if (fault.countdown > 0) {
    --fault.countdown;
    return false;
  }
  if (!fault.for_ever) fault.countdown = -1;
  errno = fault.error;
  return true;
}

}  // namespace

extern "C" {
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const auto mode = static_cast<mode_t>((flags & O_CREAT) != 0 ? va_arg(more, int) : 0);
  va_end(more);
  if (strikes(Call::open)) return -1;
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int fstat64(int descriptor, struct stat64* status) noexcept {
  if (strikes(Call::fstat)) return -1;
  return ::fstatat64(descriptor, "", status, AT_EMPTY_PATH);
}
ssize_t pread64(int descriptor, void* to, size_t size, off64_t offset) {
  if (strikes(Call::pread)) {
    if (fault.error > 0) return -1;
    size = fault.error < 0 ? 0 : std::min<size_t>(size, 1);
  }
  return ::syscall(SYS_pread64, descriptor, to, size, offset);
}
void* mmap64(void* at, size_t size, int protection, int flags, int descriptor, off64_t offset) noexcept {
  if (descriptor >= 0 && strikes(Call::mmap)) return MAP_FAILED;
  return reinterpret_cast<void*>(::syscall(SYS_mmap, at, size, protection, flags, descriptor, offset));
}
ssize_t write(int descriptor, const void* from, size_t size) {
  if (descriptor > 2 && strikes(Call::write)) {
    if (fault.error > 0) return -1;
    size = std::min<size_t>(size, 1);
  }
  return ::syscall(SYS_write, descriptor, from, size);
}
int fsync(int descriptor) {
  if (strikes(Call::fsync)) return -1;
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}
int close(int descriptor) {
  const bool fails = strikes(Call::close);
  const int number = errno;
  const auto closed = static_cast<int>(::syscall(SYS_close, descriptor));  // closed it is all the same
  if (fails) errno = number;
  return fails ? -1 : closed;
}
int rename(const char* from, const char* to) noexcept {
  if (strikes(Call::rename)) return -1;
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
}

namespace {

using namespace gguf_test;
using quantlinear::Error;
using quantlinear::ErrorCode;
using quantlinear::GgufAccess;
using quantlinear::GgufFile;
using quantlinear::GgufQuantType;
using quantlinear::GgufWriter;
using quantlinear::Status;

int next_descriptor() {
  const int next = ::dup(0);
  ::close(next);
  return next;
}

class GgufSystem : public testing::Test {
 protected:
  GgufSystem() : data_(1 << 20) {
    Raw f;
    f.head(1, 1).key("key", STRING).text(std::string(100000, 'x'));  // more than one read of the header
    f.tensor("w", {32}, 0, 0).data(128);
    path_ = directory_.write("file.gguf", f.bytes);
    EXPECT_TRUE(writer_.add_tensor("w", 24, std::vector<std::uint64_t>{data_.size()}, data_));
    descriptors_ = next_descriptor();
  }
  ~GgufSystem() override {
    fault = {};
    EXPECT_EQ(next_descriptor(), descriptors_);
  }

  // Opens with the n-th call failing, for n = 0, 1, ... until all goes well; returns how often it failed.
  template <class Check>
  long open_with(GgufAccess access, Call call, int error, Check&& check) {
    for (long n = 0;; ++n) {
      fault = {call, n, error};
      const auto opened = GgufFile::open(path_, {access});
      const bool struck = fault.countdown < 0;
      fault = {};
      if (opened && !struck) return n;
      if (opened) {
        ADD_FAILURE() << "a failure was overlooked";
        return n;
      }
      check(opened.error());
    }
  }

  // The same for writing over `path`; afterwards it must be as before, and alone.
  long write_with(Call call, int error) {
    const auto path = directory_ / "out" / "model.gguf";
    std::filesystem::create_directory(path.parent_path());
    for (long n = 0;; ++n) {
      directory_.write("out/model.gguf", "before");
      fault = {call, n, error};
      const auto written = writer_.write(path);
      const bool struck = fault.countdown < 0;
      fault = {};
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);
      if (!struck) {
        EXPECT_TRUE(written) << written.error().message;
        EXPECT_TRUE(GgufFile::open(path));
        return n;
      }
      if (written) continue;  // what comes after the rename is no failure of the write
      EXPECT_EQ(written.error().code, ErrorCode::io);
      EXPECT_TRUE(written.error().message.starts_with(path.string() + ": cannot ")) << written.error().message;
      EXPECT_EQ(std::filesystem::file_size(path), 6u);
    }
  }

  Directory directory_;
  std::filesystem::path path_;
  std::vector<std::byte> data_;
  GgufWriter writer_;
  int descriptors_ = 0;
};

TEST_F(GgufSystem, OpeningFailsWithAReason) {
  for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
    for (const Call call : {Call::open, Call::fstat, Call::pread}) {
      const long failures = open_with(access, call, EIO, [&](const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::io) << error.message;
        EXPECT_TRUE(error.message.starts_with(path_.string() + ": cannot ")) << error.message;
        EXPECT_NE(error.message.find("Input/output error"), std::string::npos) << error.message;
      });
      EXPECT_GE(failures, 1);
    }
  }
}

TEST_F(GgufSystem, MappingFailsWithAReason) {
  for (const auto& [number, code] : {std::pair{ENOMEM, ErrorCode::out_of_memory}, std::pair{ENODEV, ErrorCode::io}}) {
    const long failures = open_with(GgufAccess::map, Call::mmap, number, [&](const Error& error) {
      EXPECT_EQ(error.code, code);
      EXPECT_NE(error.message.find("cannot map 1"), std::string::npos) << error.message;
    });
    EXPECT_EQ(failures, 1);
  }
}

TEST_F(GgufSystem, AFileThatShrinksWhileItIsReadIsToldSo) {
  for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
    const long failures = open_with(access, Call::pread, -1, [&](const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::data_changed);
      EXPECT_TRUE(error.byte_offset.has_value());
      EXPECT_NE(error.message.find("when it was opened"), std::string::npos) << error.message;
    });
    EXPECT_GE(failures, access == GgufAccess::map ? 2 : 3);
  }
}

TEST_F(GgufSystem, InterruptionsAndShortTransfersMakeNoDifference) {
  const auto path = directory_ / "copy.gguf";
  for (const Call call : {Call::open, Call::pread, Call::write}) {
    for (const int error : {EINTR, 0}) {
      if (call == Call::open && error == 0) continue;
      fault = {call, 0, error};
      for (const GgufAccess access : {GgufAccess::map, GgufAccess::read}) {
        const auto opened = GgufFile::open(path_, {access});
        ASSERT_TRUE(opened) << opened.error().message;
        EXPECT_EQ(opened->metadata().get<std::string>("key")->size(), 100000u);
      }
      const auto written = writer_.write(path);
      ASSERT_TRUE(written) << written.error().message;
      EXPECT_LT(fault.countdown, 0);
    }
  }
  fault = {Call::pread, 0, 0, true};  // one byte at a time, to the end
  EXPECT_TRUE(GgufFile::open(path_, {GgufAccess::read}));
}

TEST_F(GgufSystem, CheckingFailsWithAReason) {
  const auto opened = GgufFile::open(path_);
  ASSERT_TRUE(opened);
  fault = {Call::fstat, 0, EIO};
  const auto checked = opened->check_unchanged();
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::io);
}

TEST_F(GgufSystem, WritingFailsWithAReasonAndChangesNothing) {
  EXPECT_GE(write_with(Call::open, EACCES), 1);
  EXPECT_GE(write_with(Call::write, ENOSPC), 2);
  EXPECT_GE(write_with(Call::fsync, EIO), 1);
  EXPECT_GE(write_with(Call::close, EIO), 1);
  EXPECT_GE(write_with(Call::rename, EXDEV), 1);
}

}  // namespace
