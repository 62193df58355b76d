#include "gguf/header_bytes.hpp"

#include <algorithm>
#include <string>

#include "gguf/file_map.hpp"

namespace quantlinear::gguf {

// A header without a vocabulary fits the first read. From then on the size grows by a quarter, which
// keeps down both the number of steps and what is read in excess.
constexpr std::uint64_t first_read = 32 * 1024;

HeaderBytes::HeaderBytes(const File& file) noexcept : file_size_(file.size()), file_(&file) {}

Status HeaderBytes::ensure(std::uint64_t end) {
  const std::uint64_t have = view_.size();
  if (end <= have) return {};
  const std::uint64_t want = std::min({std::max({end, have + have / 4, first_read}), file_size_, largest_header});
  // realloc and not a vector: large blocks move by remapping, and nothing is zeroed to be overwritten.
  auto* grown = static_cast<std::byte*>(std::realloc(memory_.get(), static_cast<std::size_t>(want)));
  if (grown == nullptr) {
    return out_of_memory(file_->label(), ": no memory for ", want, " bytes of metadata");
  }
  (void)memory_.release();  // realloc has taken the old block
  memory_.reset(grown);
  if (auto read = file_->read_at(have, {grown + have, static_cast<std::size_t>(want - have)}); !read) return read;
  view_ = {grown, static_cast<std::size_t>(want)};
  return {};
}

HeaderBytes::Kept HeaderBytes::keep(std::uint64_t end) {
  if (memory_ == nullptr) return {view_.data(), keeper_};
  if (auto* shrunk = static_cast<std::byte*>(std::realloc(memory_.get(), std::max<std::size_t>(end, 1)))) {
    (void)memory_.release();
    memory_.reset(shrunk);
  }
  view_ = {memory_.get(), static_cast<std::size_t>(end)};
  std::byte* bytes = memory_.get();
  keeper_ = std::shared_ptr<const std::byte>(std::move(memory_));
  return {bytes, keeper_};
}

}  // namespace quantlinear::gguf
