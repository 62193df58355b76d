// GGUF numbers are little-endian and packed without alignment: they are copied byte by byte, never
// read through a cast pointer.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace quantlinear::gguf {

template <std::size_t Bytes>
using UnsignedOf = std::conditional_t<
    Bytes == 1, std::uint8_t,
    std::conditional_t<Bytes == 2, std::uint16_t, std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>>>;

template <class T>
[[nodiscard]] T load(const std::byte* from) noexcept {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
  UnsignedOf<sizeof(T)> bits;
  std::memcpy(&bits, from, sizeof(T));
  if constexpr (std::endian::native == std::endian::big) bits = std::byteswap(bits);
  return std::bit_cast<T>(bits);
}

template <class T>
void store(std::byte* to, T value) noexcept {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
  auto bits = std::bit_cast<UnsignedOf<sizeof(T)>>(value);
  if constexpr (std::endian::native == std::endian::big) bits = std::byteswap(bits);
  std::memcpy(to, &bits, sizeof(T));
}

}  // namespace quantlinear::gguf
