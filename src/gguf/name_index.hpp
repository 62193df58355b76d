// Finds entries of a list by name in constant time, and duplicates while the list is read. A slot holds
// the position of an entry and half of the hash of its name (8 bytes, at most 3 slots in 4 filled):
// the names stay where they are, and are looked at only where the hashes agree.
#pragma once

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "gguf/little_endian.hpp"

namespace quantlinear::gguf {

/// SipHash-1-3: with a secret key, a file cannot be made whose names all collide.
[[nodiscard]] inline std::uint64_t siphash13(std::string_view text, std::uint64_t k0, std::uint64_t k1) noexcept {
  std::uint64_t v0 = k0 ^ 0x736f6d6570736575u, v1 = k1 ^ 0x646f72616e646f6du;
  std::uint64_t v2 = k0 ^ 0x6c7967656e657261u, v3 = k1 ^ 0x7465646279746573u;
  const auto round = [&] {
    v0 += v1, v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0, v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1, v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2, v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  };
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, bytes += 8) {
    const auto word = load<std::uint64_t>(bytes);
    v3 ^= word;
    round();
    v0 ^= word;
  }
  std::uint64_t last = static_cast<std::uint64_t>(text.size() & 0xFF) << 56;
  for (std::size_t i = 0; i < left; ++i) last |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  v3 ^= last;
  round();
  v0 ^= last;
  v2 ^= 0xFF;
  round(), round(), round();
  return v0 ^ v1 ^ v2 ^ v3;
}

class NameIndex {
 public:
  NameIndex() noexcept {
    // Secret enough against files made in advance: where this object lies (address space layout is
    // randomised) and when it was made. Nothing that a caller can see depends on it.
    k0_ = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    k1_ = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(this));
  }

  /// Position of `name`; name_of(position) gives the name at a position that was inserted before.
  template <class NameOf>
  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name, NameOf&& name_of) const noexcept {
    if (slots_.empty()) return std::nullopt;
    const std::uint32_t hash = hash_of(name);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = hash & mask; slots_[at].number != 0; at = (at + 1) & mask) {
      const std::uint32_t position = slots_[at].number - 1;
      if (slots_[at].hash == hash && name_of(position) == name) return position;
    }
    return std::nullopt;
  }

  /// Enters `name` at the next position (0, 1, 2, ...), at most 2^31 of them. If the name is there
  /// already, returns its position and changes nothing. May throw std::bad_alloc.
  template <class NameOf>
  std::optional<std::uint32_t> insert(std::string_view name, NameOf&& name_of) {
    if (const auto found = find(name, name_of)) return found;
    if (count_ + std::size_t{1} > slots_.size() / 4 * 3) grow();
    place({hash_of(name), ++count_});
    return std::nullopt;
  }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = 0;  ///< position + 1; 0 is free
  };

  [[nodiscard]] std::uint32_t hash_of(std::string_view name) const noexcept {
    return static_cast<std::uint32_t>(siphash13(name, k0_, k1_));
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
    slots_.swap(old);
    for (const Slot& slot : old) {
      if (slot.number != 0) place(slot);
    }
  }

  void place(Slot slot) noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = slot.hash & mask;
    while (slots_[at].number != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }

  std::vector<Slot> slots_;  // their number is a power of two
  std::uint32_t count_ = 0;
  std::uint64_t k0_ = 0, k1_ = 0;
};

}  // namespace quantlinear::gguf
