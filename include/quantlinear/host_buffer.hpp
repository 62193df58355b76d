// The Buffer of backends that work in host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "quantlinear/error.hpp"
#include "quantlinear/matrix.hpp"

namespace quantlinear {

/// Owning, move-only, 64-byte aligned f32 memory, zero-initialised.
class HostBuffer {
 public:
  HostBuffer() = default;
  HostBuffer(HostBuffer&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~HostBuffer() = default;
  /// out_of_memory if `count` floats cannot be had.
  [[nodiscard]] static Result<HostBuffer> allocate(std::uint64_t count);
  [[nodiscard]] std::span<float> span() noexcept { return {data_.get(), size_}; }
  [[nodiscard]] std::span<const float> span() const noexcept { return {data_.get(), size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  struct Free {
    void operator()(float* p) const noexcept;
  };
  std::unique_ptr<float[], Free> data_;
  std::size_t size_ = 0;
};

/// Views of host backends: HostInput/HostOutput, which also come from a HostBuffer, from `offset`
/// floats on (an offset beyond the end gives an empty view, which the layer refuses by size).
struct HostInputView : HostInput {
  using HostInput::HostInput;
  HostInputView(const HostBuffer& buffer, std::uint64_t offset = 0, std::uint64_t stride = 0) noexcept  // NOLINT
      : HostInput(buffer.span().subspan(offset < buffer.size() ? offset : buffer.size()), stride) {}
  HostInputView(const HostBuffer&&, std::uint64_t = 0, std::uint64_t = 0) = delete;  // the view would dangle
};
struct HostOutputView : HostOutput {
  using HostOutput::HostOutput;
  HostOutputView(HostBuffer& buffer, std::uint64_t offset = 0, std::uint64_t stride = 0) noexcept  // NOLINT
      : HostOutput(buffer.span().subspan(offset < buffer.size() ? offset : buffer.size()), stride) {}
};

}  // namespace quantlinear
