// Reading GGUF files: what is in them (metadata, tensors) and the bytes of their tensors, as a view
// of the mapped file or as memory of our own. Versions 2 and 3, little-endian, single files and
// split sets. Nothing a file holds is trusted, executed or changed; every refusal is an Error of one
// line:
//   FILE: FIELD (index, name) at byte OFFSET: found VALUE, why, limit or expectation
// No call throws. All sizes and offsets are bytes unless a name says otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "quantlinear/error.hpp"
#include "quantlinear/quant_bytes.hpp"
#include "quantlinear/quant_type.hpp"

namespace quantlinear {

// ---- metadata ----------------------------------------------------------------------------------

/// Type of a metadata value. The values are those of the file format.
enum class GgufValueType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// "u8", ..., "bool", "string", "array"; "unknown" outside the enumeration. Static storage.
[[nodiscard]] std::string_view to_string(GgufValueType type) noexcept;

/// An array of metadata: a typed vector. Arrays of arrays nest to depth 4 and may mix inner types.
/// Alternative i of `items` is a vector of the type whose GgufValueType is i.
struct GgufArray {
  using Items = std::variant<std::vector<std::uint8_t>, std::vector<std::int8_t>, std::vector<std::uint16_t>,
                             std::vector<std::int16_t>, std::vector<std::uint32_t>, std::vector<std::int32_t>,
                             std::vector<float>, std::vector<bool>, std::vector<std::string>, std::vector<GgufArray>,
                             std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>;
  Items items;

  [[nodiscard]] GgufValueType element_type() const noexcept { return static_cast<GgufValueType>(items.index()); }
  [[nodiscard]] std::size_t size() const noexcept;
  friend bool operator==(const GgufArray& a, const GgufArray& b);
};

/// Any metadata value, owning its memory. Alternative i is the C++ type of GgufValueType i. Strings
/// are bytes: normally UTF-8, but kept exactly as the file has them, NUL and invalid bytes included.
using GgufValue = std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t,
                               float, bool, std::string, GgufArray, std::uint64_t, std::int64_t, double>;

/// The GgufValueType of a value.
[[nodiscard]] inline GgufValueType type_of(const GgufValue& value) noexcept {
  return static_cast<GgufValueType>(value.index());
}

/// One key of the metadata as it stands in the file: a view, valid as long as any copy of the
/// GgufMetadata or GgufFile it came from lives.
struct GgufEntry {
  std::string_view key;
  GgufValueType type = GgufValueType::u8;
  GgufValueType element_type = GgufValueType::u8;  ///< of an array; equal to `type` otherwise
  std::uint64_t count = 1;                         ///< elements of an array; 1 otherwise
  std::uint64_t byte_offset = 0;                   ///< of the value in its file
  const std::byte* encoded = nullptr;              ///< the value as encoded in the file (checked)

  /// Decodes the value. Error: out_of_memory only.
  [[nodiscard]] Result<GgufValue> value() const;
};

namespace detail {
template <class T, class... Options>
inline constexpr bool is_or_is_vector_of =
    ((std::is_same_v<T, Options> || std::is_same_v<T, std::vector<Options>>) || ...);
}  // namespace detail

/// The types GgufMetadata::get can ask for: every scalar type, strings, vectors of these, and
/// GgufArray and GgufValue for whatever is there. A string_view is a view into the metadata (see
/// GgufEntry); everything else owns its memory.
template <class T>
concept GgufGettable =
    std::is_same_v<T, GgufArray> || std::is_same_v<T, GgufValue> ||
    detail::is_or_is_vector_of<T, std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t,
                               std::uint64_t, std::int64_t, float, double, bool, std::string, std::string_view>;

/// The keys and values of a file, in file order. A cheap handle: copies share one immutable copy of
/// the encoded metadata, which they keep alive; values are decoded when asked for. Thread-safe.
/// Of a split set this is the metadata of part 1.
class GgufMetadata {
 public:
  /// No keys.
  GgufMetadata() = default;

  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool contains(std::string_view key) const noexcept;
  /// Entry number `index` of the file; `index` must be below size() (an empty entry otherwise).
  [[nodiscard]] GgufEntry operator[](std::size_t index) const noexcept;
  [[nodiscard]] std::optional<GgufEntry> find(std::string_view key) const noexcept;

  /// The value of `key`, which must have exactly type T: numbers are never converted.
  /// Errors, all naming the key: not_found; invalid_argument if the file holds another type;
  /// out_of_memory.
  template <GgufGettable T>
  [[nodiscard]] Result<T> get(std::string_view key) const;

  /// As get, but a missing key gives `otherwise`. A value of another type is still an error.
  template <GgufGettable T>
  [[nodiscard]] Result<T> get_or(std::string_view key, T otherwise) const {
    if (!contains(key)) return otherwise;
    return get<T>(key);
  }

  /// Forward iteration over the entries in file order.
  class Iterator {
   public:
    using value_type = GgufEntry;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(const GgufMetadata* of, std::size_t index) noexcept : of_(of), index_(index) {}
    [[nodiscard]] GgufEntry operator*() const noexcept { return (*of_)[index_]; }
    Iterator& operator++() noexcept {
      ++index_;
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++index_;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.index_ == b.index_; }

   private:
    const GgufMetadata* of_ = nullptr;
    std::size_t index_ = 0;
  };
  [[nodiscard]] Iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] Iterator end() const noexcept { return {this, size()}; }

  struct State;  // internal
  explicit GgufMetadata(std::shared_ptr<const State> state) noexcept : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};

// ---- tensors -----------------------------------------------------------------------------------

/// The dimensions of a tensor, fastest first: up to 4, as a range of size() elements. Dimensions
/// past the last are 1, so dims[0] .. dims[3] can always be read.
class GgufDims {
 public:
  static constexpr std::size_t max_rank = 4;

  GgufDims() = default;
  /// Takes at most the first 4 of `dims`.
  explicit GgufDims(std::span<const std::uint64_t> dims) noexcept {
    for (; rank_ < dims.size() && rank_ < max_rank; ++rank_) values_[rank_] = dims[rank_];
  }
  [[nodiscard]] std::size_t size() const noexcept { return rank_; }
  [[nodiscard]] std::uint64_t operator[](std::size_t i) const noexcept { return i < max_rank ? values_[i] : 1; }
  [[nodiscard]] const std::uint64_t* begin() const noexcept { return values_.data(); }
  [[nodiscard]] const std::uint64_t* end() const noexcept { return values_.data() + rank_; }
  friend bool operator==(const GgufDims&, const GgufDims&) = default;

 private:
  std::array<std::uint64_t, max_rank> values_{1, 1, 1, 1};
  std::uint32_t rank_ = 0;
};

/// What a file says about one tensor. From a GgufFile every field is checked: the type is known, a
/// row (dims[0]) is whole blocks, nothing overflows 64 bits, and the bytes lie inside the file.
/// A zero dimension makes an empty tensor of 0 bytes.
struct GgufTensorInfo {
  std::string name;           ///< bytes as in the file; not necessarily UTF-8
  std::uint32_t type_id = 0;  ///< GGUF tensor type id; may be a type that is no weight (I32, F64, Q8_K)
  std::uint32_t part = 0;     ///< index into GgufFile::parts(); 0 for a single file
  GgufDims dims;              ///< fastest first: {in_features, out_features, ...}
  std::uint64_t bytes = 0;    ///< size of the data
  std::uint64_t offset = 0;   ///< of the data, from the start of the file of its part

  /// The weight type; empty for the legal tensor types that are none (I8..I64, F64, Q8_1, Q8_K).
  [[nodiscard]] std::optional<GgufQuantType> kind() const noexcept { return quant_type_from_id(type_id); }
  /// "Q4_K", "I32", ...; "unknown" for an id outside the format.
  [[nodiscard]] std::string type_name() const;
  /// Elements of a row: dims[0].
  [[nodiscard]] std::uint64_t in_features() const noexcept { return dims[0]; }
  /// Number of rows: the product of the other dimensions.
  [[nodiscard]] std::uint64_t rows() const noexcept { return dims[1] * dims[2] * dims[3]; }
};

// ---- files -------------------------------------------------------------------------------------

/// How the tensor data of a file is held. Metadata is always copied into memory.
///   map   The file is mapped: opening costs nothing, pages are shared with other processes and can
///         be dropped by the system. The price: whoever changes the file in place changes the
///         weights under a running layer, and truncating it makes the next access raise SIGBUS. No
///         kind of mapping protects from that; check_unchanged() tells afterwards. Replacing the
///         file by rename is safe: the old one stays mapped. Prefer `read` on network file systems,
///         where a lost server is a SIGBUS too. Huge pages are asked for, which Linux has for files
///         on some file systems (XFS; ext4 from 6.16 on) as it reads them from the disk: m = 1 is up
///         to a fifth faster then.
///   read  The data is read into memory of our own: immune to all of that, at the cost of reading
///         and holding it.
enum class GgufAccess : std::uint8_t { map, read };

struct GgufOpenOptions {
  GgufAccess access = GgufAccess::map;
};

/// An open GGUF model: one file, or a whole split set. Cheap to copy; copies share one immutable
/// state. All calls are thread-safe. QuantBytes handed out keep the data of their part alive on their
/// own; GgufMetadata handles keep the metadata; spans, pointers and references into the file live as
/// long as any copy of the GgufFile.
class GgufFile {
 public:
  /// Opens the model at `path`: a regular file, or any part NAME-%05d-of-%05d.gguf of a split set,
  /// whose other parts are then opened from the same directory. Costs time and memory in proportion
  /// to the header (metadata and tensor list, at most 1 GiB per file), not to the data.
  /// Errors: io (cannot be opened, no regular file), malformed_file, unsupported (GGUF version 1,
  /// big-endian, unknown tensor type), data_changed (it changed while being opened), out_of_memory.
  [[nodiscard]] static Result<GgufFile> open(const std::filesystem::path& path, GgufOpenOptions options = {});

  /// The same for a whole file in memory, which the GgufFile takes over. `label` stands for the file
  /// name in messages. A part of a split set is refused (unsupported): its siblings are out of reach.
  [[nodiscard]] static Result<GgufFile> parse(std::vector<std::byte> bytes, const std::string& label);

  /// Format version, 2 or 3, and alignment of the data in bytes; of a split set, those of part 1.
  [[nodiscard]] std::uint32_t version() const noexcept;
  [[nodiscard]] std::uint32_t alignment() const noexcept;
  [[nodiscard]] GgufMetadata metadata() const noexcept;
  /// Every tensor, in file order, part after part.
  [[nodiscard]] std::span<const GgufTensorInfo> tensors() const noexcept;

  [[nodiscard]] bool contains(std::string_view name) const noexcept;
  /// The tensor of that name; never null on success. Error not_found lists the nearest names.
  [[nodiscard]] Result<const GgufTensorInfo*> find(std::string_view name) const;

  /// The data of a tensor, kept alive by the returned object even after the GgufFile is gone.
  /// Errors: not_found; invalid_argument if `info` does not lie inside this file.
  [[nodiscard]] Result<QuantBytes> bytes(std::string_view name) const;
  [[nodiscard]] Result<QuantBytes> bytes(const GgufTensorInfo& info) const;

  /// Asks the system whether a mapped file still has the size and modification time it had when it
  /// was opened: error data_changed if not. A write through another mapping may show up late.
  /// Data in own memory (GgufAccess::read, parse) cannot change: always success.
  [[nodiscard]] Status check_unchanged() const;

  /// Paths of the parts in order: one for a single file, the label for a parsed one.
  [[nodiscard]] std::span<const std::filesystem::path> parts() const noexcept;
  /// Size of all parts together, headers and padding included.
  [[nodiscard]] std::uint64_t total_bytes() const noexcept;
  /// Sum of the sizes of all tensors (a range that tensors share counts for each of them).
  [[nodiscard]] std::uint64_t tensor_bytes() const noexcept;

  struct State;  // internal
  explicit GgufFile(std::shared_ptr<const State> state) noexcept : state_(std::move(state)) {}
  // Copies only: a moved-from GgufFile would be a handle to nothing.
  GgufFile(const GgufFile&) = default;
  GgufFile& operator=(const GgufFile&) = default;
  ~GgufFile() = default;

 private:
  std::shared_ptr<const State> state_;
};

}  // namespace quantlinear
