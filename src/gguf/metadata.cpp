// Looking up and decoding metadata that take_metadata has checked: nothing here can run past the
// end of a value.
#include "gguf/metadata.hpp"

#include <concepts>
#include <cstring>
#include <string>
#include <utility>

#include "gguf/message.hpp"

namespace quantlinear {
namespace {

using gguf::load;
using gguf::scalar_bytes;

/// Calls f(std::type_identity<T>{}) with the C++ type T of a value type.
template <class F>
auto with_type(GgufValueType type, F&& f) {
  switch (type) {
    case GgufValueType::u8:
      return f(std::type_identity<std::uint8_t>{});
    case GgufValueType::i8:
      return f(std::type_identity<std::int8_t>{});
    case GgufValueType::u16:
      return f(std::type_identity<std::uint16_t>{});
    case GgufValueType::i16:
      return f(std::type_identity<std::int16_t>{});
    case GgufValueType::u32:
      return f(std::type_identity<std::uint32_t>{});
    case GgufValueType::i32:
      return f(std::type_identity<std::int32_t>{});
    case GgufValueType::f32:
      return f(std::type_identity<float>{});
    case GgufValueType::boolean:
      return f(std::type_identity<bool>{});
    case GgufValueType::string:
      return f(std::type_identity<std::string>{});
    case GgufValueType::array:
      return f(std::type_identity<GgufArray>{});
    case GgufValueType::u64:
      return f(std::type_identity<std::uint64_t>{});
    case GgufValueType::i64:
      return f(std::type_identity<std::int64_t>{});
    case GgufValueType::f64:
      break;
  }
  return f(std::type_identity<double>{});
}

/// Reads encoded values one after the other.
struct Decoder {
  const std::byte* at;

  template <class T>
  T take() {
    if constexpr (std::is_same_v<T, bool>) {
      return *at++ != std::byte{0};
    } else if constexpr (std::is_arithmetic_v<T>) {
      const T value = load<T>(at);
      at += sizeof(T);
      return value;
    } else if constexpr (std::is_same_v<T, GgufArray>) {
      return take_array();
    } else {
      const auto size = static_cast<std::size_t>(take<std::uint64_t>());
      T text(reinterpret_cast<const char*>(at), size);
      at += size;
      return text;
    }
  }

  template <class T>
  std::vector<T> take_elements(std::size_t count) {
    std::vector<T> elements;
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && std::endian::native == std::endian::little) {
      elements.resize(count);
      if (count != 0) std::memcpy(elements.data(), at, count * sizeof(T));
      at += count * sizeof(T);
    } else {
      elements.reserve(count);
      for (std::size_t i = 0; i < count; ++i) elements.push_back(take<T>());
    }
    return elements;
  }

  GgufArray take_array() {
    const auto type = static_cast<GgufValueType>(take<std::uint32_t>());
    const auto count = static_cast<std::size_t>(take<std::uint64_t>());
    return with_type(type, [&]<class T>(std::type_identity<T>) { return GgufArray{take_elements<T>(count)}; });
  }
};

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

/// The value type that holds a T; for string_view that of string.
template <class T>
constexpr GgufValueType value_type() {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return GgufValueType::string;
  } else {
    return static_cast<GgufValueType>(GgufValue(std::in_place_type<T>).index());
  }
}

/// "u32", "array of string".
std::string describe(GgufValueType type, GgufValueType element) {
  if (type != GgufValueType::array) return std::string(to_string(type));
  return "array of " + std::string(to_string(element));
}

/// Whether the entry holds what get<T> asks for, and how that is called.
template <class T>
bool holds(const GgufEntry& entry) {
  if constexpr (std::is_same_v<T, GgufValue>) {
    return true;
  } else if constexpr (is_vector<T>) {
    return entry.type == GgufValueType::array && entry.element_type == value_type<typename T::value_type>();
  } else {
    return entry.type == value_type<T>();
  }
}

template <class T>
std::string asked_for() {
  if constexpr (std::is_same_v<T, GgufValue>) {
    return "any value";
  } else if constexpr (is_vector<T>) {
    return describe(GgufValueType::array, value_type<typename T::value_type>());
  } else {
    return std::string(to_string(value_type<T>()));
  }
}

template <class T>
T decode(const GgufEntry& entry) {
  Decoder decoder{entry.encoded};
  if constexpr (std::is_same_v<T, GgufValue>) {
    return with_type(entry.type, [&]<class V>(std::type_identity<V>) {
      return GgufValue(std::in_place_type<V>, decoder.take<V>());
    });
  } else if constexpr (is_vector<T>) {
    decoder.at += 4 + 8;  // element type and count, which the entry has told
    return decoder.take_elements<typename T::value_type>(static_cast<std::size_t>(entry.count));
  } else {
    return decoder.take<T>();
  }
}

}  // namespace

std::string_view to_string(GgufValueType type) noexcept {
  static constexpr std::string_view names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                               "bool", "string", "array", "u64", "i64", "f64"};
  const auto i = static_cast<std::size_t>(type);
  return i < std::size(names) ? names[i] : "unknown";
}

std::size_t GgufArray::size() const noexcept {
  return std::visit([](const auto& elements) { return elements.size(); }, items);
}

bool operator==(const GgufArray& a, const GgufArray& b) { return a.items == b.items; }

Result<GgufValue> GgufEntry::value() const {
  return gguf::guarded("metadata value", [&]() -> Result<GgufValue> {
    if (encoded == nullptr) return fail(ErrorCode::invalid_argument, "metadata value: the entry is empty");
    return decode<GgufValue>(*this);
  });
}

std::size_t GgufMetadata::size() const noexcept { return state_ ? state_->records.size() : 0; }

GgufEntry GgufMetadata::operator[](std::size_t index) const noexcept {
  if (index >= size()) return {};
  const gguf::Record record = gguf::record_at(state_->header, state_->records[index]);
  const std::byte* value = state_->header + record.value_at;
  GgufEntry entry{state_->key(static_cast<std::uint32_t>(index)), record.type, record.type, 1, record.value_at, value};
  if (record.type == GgufValueType::array) {
    entry.element_type = static_cast<GgufValueType>(load<std::uint32_t>(value));
    entry.count = load<std::uint64_t>(value + 4);
  }
  return entry;
}

std::optional<GgufEntry> GgufMetadata::find(std::string_view key) const noexcept {
  if (!state_) return std::nullopt;
  const auto index = state_->index.find(key, [this](std::uint32_t i) { return state_->key(i); });
  if (!index) return std::nullopt;
  return (*this)[*index];
}

bool GgufMetadata::contains(std::string_view key) const noexcept { return find(key).has_value(); }

template <GgufGettable T>
Result<T> GgufMetadata::get(std::string_view key) const {
  return gguf::guarded("metadata", [&]() -> Result<T> {
    const auto entry = find(key);
    if (!entry) {
      const std::string nearest =
          state_ ? gguf::nearest_names(key, size(), [&](std::size_t i) { return (*this)[i].key; }) : "";
      return fail(ErrorCode::not_found, (state_ ? state_->file : "metadata") + ": metadata key \"" +
                                            gguf::printable(key) + "\" does not exist" + nearest);
    }
    if (!holds<T>(*entry)) {
      return fail(ErrorCode::invalid_argument,
                  state_->file + ": value of metadata key \"" + gguf::printable(key) + "\" at byte " +
                      std::to_string(entry->byte_offset) + ": found " + describe(entry->type, entry->element_type) +
                      ", expected " + asked_for<T>(),
                  entry->byte_offset);
    }
    return decode<T>(*entry);
  });
}

// The types of the concept GgufGettable.
#define QL_GET(T)                                                  \
  template Result<T> GgufMetadata::get<T>(std::string_view) const; \
  template Result<std::vector<T>> GgufMetadata::get<std::vector<T>>(std::string_view) const
QL_GET(std::uint8_t);
QL_GET(std::int8_t);
QL_GET(std::uint16_t);
QL_GET(std::int16_t);
QL_GET(std::uint32_t);
QL_GET(std::int32_t);
QL_GET(std::uint64_t);
QL_GET(std::int64_t);
QL_GET(float);
QL_GET(double);
QL_GET(bool);
QL_GET(std::string);
QL_GET(std::string_view);
#undef QL_GET
template Result<GgufArray> GgufMetadata::get<GgufArray>(std::string_view) const;
template Result<GgufValue> GgufMetadata::get<GgufValue>(std::string_view) const;

}  // namespace quantlinear
