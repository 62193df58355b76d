#define _FILE_OFFSET_BITS 64  // sizes past 2^31 on 32-bit systems too

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "gguf/message.hpp"
#include "gguf/new_file.hpp"

namespace quantlinear::gguf {
namespace {

constexpr std::size_t largest_write = std::size_t{1} << 30;  // Linux transfers at most 2^31-4096 a call

// Makes a rename in `directory` permanent. Not every file system can, and the file is complete and
// in place by now, so a failure is none of the caller's.
void flush_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  (void)::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

std::unexpected<Error> NewFile::failed(std::string_view doing, int number) const {
  return fail(ErrorCode::io, label_ + ": " + system_message(doing, number));
}

Result<NewFile> NewFile::create(const std::filesystem::path& target) {
  NewFile file(target, printable_path(target));
  if (target.native().find('\0') != std::filesystem::path::string_type::npos) {
    return fail(ErrorCode::invalid_argument, file.label_ + ": the path holds a NUL character");
  }
  if (!target.has_filename()) {
    return fail(ErrorCode::invalid_argument, file.label_ + ": the path does not name a file");
  }
  // A rename would put a file in the place of a device or FIFO (or of a link to one, as /dev/stdout is), and fail on a
  // directory at the end.
  struct stat existing{};
  const bool exists = ::stat(target.c_str(), &existing) == 0;
  if (exists && !S_ISREG(existing.st_mode)) {
    return fail(ErrorCode::io, file.label_ + ": exists and is no regular file");
  }
  // The process id tells writers on one machine apart; O_EXCL settles the rest.
  for (unsigned attempt = 0; attempt < 100; ++attempt) {
    file.temporary_ = target;
    file.temporary_ += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    do {
      file.descriptor_ = ::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (file.descriptor_ < 0 && errno == EINTR);
    if (file.descriptor_ >= 0 || errno != EEXIST) break;
  }
  if (file.descriptor_ < 0) {
    const int number = errno;
    file.temporary_.clear();
    return file.failed("cannot create a temporary file beside it", number);
  }
  if (exists) (void)::fchmod(file.descriptor_, existing.st_mode & 0777);
  return file;
}

NewFile::NewFile(NewFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      label_(std::move(other.label_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_) {}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status NewFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), std::min(bytes.size(), largest_write));
    if (put < 0) {
      if (errno == EINTR) continue;
      return failed("cannot write at byte " + std::to_string(written_), errno);
    }
    written_ += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Status NewFile::commit() {
  if (::fsync(descriptor_) != 0) return failed("cannot flush " + std::to_string(written_) + " bytes", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) return failed("cannot close", errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return failed("cannot rename into place", errno);
  temporary_.clear();
  flush_directory(target_.parent_path());
  return {};
}

}  // namespace quantlinear::gguf
