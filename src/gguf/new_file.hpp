// A file in the making: written under a temporary name, then renamed into place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "quantlinear/error.hpp"

namespace quantlinear::gguf {

/// Removes the temporary file unless commit() succeeded. Movable.
class NewFile {
 public:
  [[nodiscard]] static Result<NewFile> create(const std::filesystem::path& target);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  Status append(std::span<const std::byte> bytes);
  /// Flushes to storage and gives the file its name. To be called once.
  Status commit();

 private:
  NewFile(std::filesystem::path target, std::string label) noexcept
      : target_(std::move(target)), label_(std::move(label)) {}
  [[nodiscard]] std::unexpected<Error> failed(std::string_view doing, int number) const;

  std::filesystem::path target_, temporary_;
  std::string label_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;
};

}  // namespace quantlinear::gguf
