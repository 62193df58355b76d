// The metadata in memory: the bytes of the file as they stand, plus four bytes per key that say
// where its record begins. Keys, types and values are found from there, and decoded when asked for.
//
// Layout of a record: u64 key length, key, u32 value type, value.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gguf/cursor.hpp"
#include "gguf/name_index.hpp"
#include "quantlinear/gguf.hpp"

namespace quantlinear::gguf {

/// Bytes of a number or bool of that type; 0 for strings, arrays and unknown types.
[[nodiscard]] constexpr std::uint64_t scalar_bytes(GgufValueType type) noexcept {
  switch (type) {
    case GgufValueType::u8:
    case GgufValueType::i8:
    case GgufValueType::boolean:
      return 1;
    case GgufValueType::u16:
    case GgufValueType::i16:
      return 2;
    case GgufValueType::u32:
    case GgufValueType::i32:
    case GgufValueType::f32:
      return 4;
    case GgufValueType::u64:
    case GgufValueType::i64:
    case GgufValueType::f64:
      return 8;
    case GgufValueType::string:
    case GgufValueType::array:
      break;
  }
  return 0;
}

inline constexpr std::uint64_t longest_key = 65535;  // the format's own limit
inline constexpr std::uint64_t longest_string = largest_header;
inline constexpr std::uint32_t deepest_array = 4;  // arrays in arrays in arrays in an array
inline constexpr std::uint64_t least_key_record = 8 + 1 + 4 + 1;

/// Where the pieces of a record lie.
struct Record {
  Text key;
  GgufValueType type;
  std::uint64_t value_at;
};

/// Takes `count` records through the cursor, which refuses whatever breaks the format: the number
/// of entries in `records` is `count` exactly if cursor.ok(). May throw std::bad_alloc.
void take_metadata(Cursor& cursor, std::uint64_t count, std::vector<std::uint32_t>& records, NameIndex& index);

/// The record at `position` of a header that take_metadata has accepted.
[[nodiscard]] Record record_at(const std::byte* header, std::uint32_t position) noexcept;

}  // namespace quantlinear::gguf

struct quantlinear::GgufMetadata::State {
  std::string file;  ///< name for messages
  const std::byte* header = nullptr;
  std::shared_ptr<const void> keeper;  ///< of header
  std::vector<std::uint32_t> records;
  gguf::NameIndex index;

  [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept {
    const gguf::Text key = gguf::record_at(header, records[i]).key;
    return {reinterpret_cast<const char*>(header + key.at), static_cast<std::size_t>(key.size)};
  }
};
