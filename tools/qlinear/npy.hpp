// Matrices in NumPy's .npy files: float32, C order, two dimensions, format versions 1 and 2.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "output_file.hpp"
#include "quantlinear/error.hpp"

namespace qlinear {

struct Matrix {
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::vector<float> values;  ///< row after row
};

/// Reads a regular file. Nothing in it is trusted: sizes are compared with the bytes that are there
/// before anything is allocated. Errors name the file, the field, the byte offset, what was found
/// and what was expected.
[[nodiscard]] quantlinear::Result<Matrix> read_npy(const std::filesystem::path& path);

/// Writes a matrix row by row; the file appears under its name when finish() succeeds.
class NpyWriter {
 public:
  [[nodiscard]] static quantlinear::Result<NpyWriter> create(const std::filesystem::path& path, std::uint64_t rows,
                                                             std::uint64_t columns);
  /// The next values: any number of them, rows * columns in all.
  [[nodiscard]] quantlinear::Status write(std::span<const float> values);
  [[nodiscard]] quantlinear::Status finish();
  /// Size of the finished file.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept { return file_bytes_; }
  /// False if the bytes go into a device or a pipe (then standard output may be that pipe).
  [[nodiscard]] bool is_regular() const noexcept { return file_.is_regular(); }

 private:
  NpyWriter(OutputFile file, std::uint64_t file_bytes) : file_(std::move(file)), file_bytes_(file_bytes) {}

  OutputFile file_;
  std::uint64_t file_bytes_;
};

}  // namespace qlinear
