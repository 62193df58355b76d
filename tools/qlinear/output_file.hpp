// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "quantlinear/error.hpp"

namespace qlinear {

/// Writes to a temporary file beside the target and renames it at the end; until then, and after
/// any failure, whatever the target held stays as it was. A target that is no regular file
/// (/dev/stdout, a FIFO) is written directly: replacing a device by a file would be a bad surprise.
class OutputFile {
 public:
  [[nodiscard]] static quantlinear::Result<OutputFile> create(const std::filesystem::path& target);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  [[nodiscard]] quantlinear::Status write(std::span<const std::byte> bytes);
  /// Closes and renames. Nothing may be written afterwards.
  [[nodiscard]] quantlinear::Status finish();

  /// Whether the target is a regular file, not a device or pipe that the bytes go straight into.
  [[nodiscard]] bool is_regular() const noexcept { return !direct_; }

 private:
  OutputFile(std::filesystem::path target, std::string temporary, int descriptor, bool direct) noexcept;
  void discard() noexcept;

  std::filesystem::path target_;
  std::string temporary_;  // empty when writing directly, and after finish()
  int descriptor_ = -1;
  bool direct_ = false;
};

}  // namespace qlinear
