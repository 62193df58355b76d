// Reading the metadata: every record is checked to its last byte, nothing is decoded or copied.
#include <string>

#include "gguf/metadata.hpp"

namespace quantlinear::gguf {
namespace {

[[nodiscard]] bool is_value_type(std::uint32_t type) { return type <= static_cast<std::uint32_t>(GgufValueType::f64); }

[[nodiscard]] GgufValueType take_type(Cursor& cursor, const Field& field) {
  const std::uint64_t start = cursor.position();
  const auto type = cursor.take<std::uint32_t>(field);
  if (!is_value_type(type)) {
    cursor.refuse(ErrorCode::malformed_file, start, field,
                  "found " + std::to_string(type) + ", no value type, expected 0 to 12");
    return GgufValueType::u8;
  }
  return static_cast<GgufValueType>(type);
}

void skip_bools(Cursor& cursor, std::uint64_t count, const Field& field) {
  if (!cursor.need(count, field)) return;
  const std::uint64_t start = cursor.position();
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto byte = std::to_integer<unsigned>(*cursor.at(start + i));
    if (byte > 1) {
      return cursor.refuse(ErrorCode::malformed_file, start + i, field,
                           "found " + std::to_string(byte) + ", a bool is 0 or 1");
    }
  }
  cursor.skip(count, field);
}

// The field names what is being skipped; its index and name are those of the key.
void skip_array(Cursor& cursor, const Field& key, std::uint32_t depth) {
  const Field count_field{"array count", key.index, key.name};
  const std::uint64_t start = cursor.position();
  const GgufValueType type = take_type(cursor, {"array element type", key.index, key.name});
  if (!cursor.ok()) return;
  if (const std::uint64_t size = scalar_bytes(type)) {
    const std::uint64_t count = cursor.take_count(count_field, size);
    const Field elements{"array elements", key.index, key.name};
    if (!cursor.ok()) return;
    if (type == GgufValueType::boolean) return skip_bools(cursor, count, elements);
    return cursor.skip(count * size, elements);  // <= left(): take_count saw to it
  }
  if (type == GgufValueType::string) {
    const std::uint64_t count = cursor.take_count(count_field, 8);
    const Field string_field{"array string length", key.index, key.name};
    for (std::uint64_t i = 0; i < count && cursor.ok(); ++i) (void)cursor.take_text(string_field, longest_string);
    return;
  }
  if (depth == deepest_array) {
    return cursor.refuse(ErrorCode::unsupported, start, {"array element type", key.index, key.name},
                         "found an array nested deeper than " + std::to_string(deepest_array) + " levels");
  }
  const std::uint64_t count = cursor.take_count(count_field, 4 + 8);
  for (std::uint64_t i = 0; i < count && cursor.ok(); ++i) skip_array(cursor, key, depth + 1);
}

void skip_value(Cursor& cursor, GgufValueType type, const Field& key) {
  const Field value{"value", key.index, key.name};
  if (type == GgufValueType::boolean) return skip_bools(cursor, 1, value);
  if (const std::uint64_t size = scalar_bytes(type)) return cursor.skip(size, value);
  if (type == GgufValueType::string) {
    (void)cursor.take_text({"string length", key.index, key.name}, longest_string);
    return;
  }
  skip_array(cursor, key, 1);
}

}  // namespace

void take_metadata(Cursor& cursor, std::uint64_t count, std::vector<std::uint32_t>& records, NameIndex& index) {
  const auto key_of = [&](std::uint32_t i) { return cursor.characters(record_at(cursor.at(0), records[i]).key); };
  for (std::uint64_t i = 0; i < count && cursor.ok(); ++i) {
    const std::uint64_t start = cursor.position();
    const Text key = cursor.take_text({"key length", i}, longest_key);
    if (!cursor.ok()) return;
    const Field named{"key", i, key};
    if (key.size == 0) {
      return cursor.refuse(ErrorCode::malformed_file, start, {"key length", i}, "found 0, a key must not be empty");
    }
    const GgufValueType type = take_type(cursor, {"value type", i, key});
    if (!cursor.ok()) return;
    records.push_back(static_cast<std::uint32_t>(start));  // start < largest_header
    if (const auto earlier = index.insert(cursor.characters(key), key_of)) {
      return cursor.refuse(ErrorCode::malformed_file, start, named,
                           "found a second time, first as key " + std::to_string(*earlier) + " at byte " +
                               std::to_string(records[*earlier]) + ", keys must be unique");
    }
    skip_value(cursor, type, named);
  }
}

Record record_at(const std::byte* header, std::uint32_t position) noexcept {
  const auto key_size = load<std::uint64_t>(header + position);
  const std::uint64_t type_at = std::uint64_t{position} + 8 + key_size;
  return {{std::uint64_t{position} + 8, key_size},
          static_cast<GgufValueType>(load<std::uint32_t>(header + type_at)),
          type_at + 4};
}

}  // namespace quantlinear::gguf
