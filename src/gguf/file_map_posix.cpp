#define _FILE_OFFSET_BITS 64  // sizes past 2^31 on 32-bit systems too

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/huge_pages.hpp"
#include "gguf/file_map.hpp"
#include "gguf/message.hpp"

namespace quantlinear::gguf {
namespace {

const char* kind_of_file(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  return "not a regular file";
}

#ifdef __APPLE__
const timespec& modification_time(const struct stat& s) { return s.st_mtimespec; }
#else
const timespec& modification_time(const struct stat& s) { return s.st_mtim; }
#endif

// Linux transfers at most 2^31-4096 bytes a call.
constexpr std::size_t largest_read = std::size_t{1} << 30;

}  // namespace

Result<File> File::open(const std::filesystem::path& path) {
  std::string label = printable_path(path);
  if (path.native().find('\0') != std::filesystem::path::string_type::npos) {
    return fail(ErrorCode::invalid_argument, label + ": the path holds a NUL character");
  }
  // O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOCTTY: nor adopt a terminal.
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) {
    const int number = errno;
    struct stat status{};
    // A socket cannot be opened at all (ENXIO), so say what it is by name.
    if (number == ENXIO && ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
      return fail(ErrorCode::io, label + ": is " + kind_of_file(status.st_mode) + ", expected a regular file");
    }
    return fail(ErrorCode::io, label + ": " + system_message("cannot open", number));
  }
  File file(descriptor, std::move(label));
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) {
    return fail(ErrorCode::io, file.label_ + ": " + system_message("cannot get the size", errno));
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::io, file.label_ + ": is " + kind_of_file(status.st_mode) + ", expected a regular file");
  }
  file.size_ = static_cast<std::uint64_t>(status.st_size);
  if (!std::in_range<std::size_t>(file.size_)) {
    return fail(ErrorCode::unsupported,
                file.label_ + ": has " + std::to_string(file.size_) + " bytes, more than this process can address");
  }
  file.modified_seconds_ = modification_time(status).tv_sec;
  file.modified_nanoseconds_ = modification_time(status).tv_nsec;
  return file;
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      label_(std::move(other.label_)),
      size_(other.size_),
      modified_seconds_(other.modified_seconds_),
      modified_nanoseconds_(other.modified_nanoseconds_) {}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status File::read_at(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t got =
        ::pread(descriptor_, into.data(), std::min(into.size(), largest_read), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail(ErrorCode::io, label_ + ": " + system_message("cannot read at byte " + std::to_string(offset), errno),
                  offset);
    }
    if (got == 0) {
      return fail(ErrorCode::data_changed,
                  label_ + ": ends at byte " + std::to_string(offset) + ", had " + std::to_string(size_) +
                      " bytes when it was opened",
                  offset);
    }
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<FileBytes> File::map() const {
  const auto size = static_cast<std::size_t>(size_);
  if (size == 0) return FileBytes{{}, 0, true, nullptr};  // mmap refuses empty ranges
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (memory == MAP_FAILED) {
    const int number = errno;
    return fail(number == ENOMEM ? ErrorCode::out_of_memory : ErrorCode::io,
                label_ + ": " + system_message("cannot map " + std::to_string(size) + " bytes", number));
  }
  detail::prefer_huge_pages(memory, size);
  const auto unmap = [size](const void* base) { ::munmap(const_cast<void*>(base), size); };
  // If the control block cannot be allocated, shared_ptr runs the deleter before it throws.
  std::shared_ptr<const void> keeper(static_cast<const void*>(memory), unmap);
  return FileBytes{{static_cast<const std::byte*>(memory), size}, 0, true, std::move(keeper)};
}

Result<FileBytes> File::read_from(std::uint64_t first) const {
  const auto size = static_cast<std::size_t>(size_ - first);
  const std::shared_ptr<std::byte> memory = detail::allocate_in_huge_pages(size);
  if (memory == nullptr) {
    return out_of_memory(label_, ": no memory for ", size, " bytes of tensor data");
  }
  if (auto read = read_at(first, {memory.get(), size}); !read) return std::unexpected(std::move(read).error());
  return FileBytes{{memory.get(), size}, first, false, memory};
}

Status File::check_unchanged() const {
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) {
    return fail(ErrorCode::io, label_ + ": " + system_message("cannot get the size", errno));
  }
  if (static_cast<std::uint64_t>(status.st_size) != size_) {
    return fail(ErrorCode::data_changed, label_ + ": found a size of " + std::to_string(status.st_size) +
                                             " bytes, had " + std::to_string(size_) + " when it was opened");
  }
  if (modification_time(status).tv_sec != modified_seconds_ ||
      modification_time(status).tv_nsec != modified_nanoseconds_) {
    return fail(ErrorCode::data_changed, label_ + ": was modified since it was opened");
  }
  return {};
}

}  // namespace quantlinear::gguf
