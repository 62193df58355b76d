#include "quantlinear/quant_type.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <string>

#include "formats/all.hpp"

namespace quantlinear {
namespace {

/// One line of the table: what the header shows, and the format's own decoder.
struct Entry {
  QuantTypeInfo info;
  void (*dequantize)(const std::uint8_t* block, float* out);
};

template <class F>
constexpr Entry entry(std::string_view name) {
  return {{F::kType, name, F::kBlockElements, F::kBlockBytes}, F::dequantize};
}

constexpr auto kEntries = std::to_array<Entry>({
#define QL_QUANT_TYPE(name, file, id) entry<formats::name>(#name),
#include "quantlinear/quant_types.def"
#undef QL_QUANT_TYPE
});

constexpr auto kInfos = [] {
  std::array<QuantTypeInfo, kEntries.size()> infos{};
  std::ranges::transform(kEntries, infos.begin(), &Entry::info);
  return infos;
}();

const Entry* find(GgufQuantType type) noexcept {
  const auto found = std::ranges::find(kEntries, type, [](const Entry& e) { return e.info.type; });
  return found == kEntries.end() ? nullptr : &*found;
}

std::unexpected<Error> unknown_type(GgufQuantType type) {
  return fail(ErrorCode::invalid_argument,
              "type " + std::to_string(static_cast<std::uint32_t>(type)) + " is no GGUF weight type");
}

/// Whole blocks in `size` bytes, or an error.
Result<std::uint64_t> count_blocks(const QuantTypeInfo& info, std::size_t size) {
  if (size % info.block_bytes == 0) return size / info.block_bytes;
  return fail(ErrorCode::invalid_argument, std::string(info.name) + ": found " + std::to_string(size) +
                                               " bytes, expected a multiple of the block's " +
                                               std::to_string(info.block_bytes));
}

}  // namespace

std::span<const QuantTypeInfo> quant_types() noexcept { return kInfos; }

const QuantTypeInfo* quant_type_info(GgufQuantType type) noexcept {
  const auto found = std::ranges::find(kInfos, type, &QuantTypeInfo::type);
  return found == kInfos.end() ? nullptr : &*found;
}

std::string_view to_string(GgufQuantType type) noexcept {
  const QuantTypeInfo* info = quant_type_info(type);
  return info == nullptr ? "unknown" : info->name;
}

std::optional<GgufQuantType> quant_type_from_name(std::string_view name) noexcept {
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; };
  for (const QuantTypeInfo& info : kInfos) {
    if (std::ranges::equal(info.name, name, {}, upper, upper)) return info.type;
  }
  return std::nullopt;
}

std::optional<GgufQuantType> quant_type_from_id(std::uint32_t id) noexcept {
  const QuantTypeInfo* info = quant_type_info(static_cast<GgufQuantType>(id));
  return info == nullptr ? std::nullopt : std::optional(info->type);
}

Result<std::uint64_t> row_bytes(GgufQuantType type, std::uint64_t in_features) try {
  const QuantTypeInfo* info = quant_type_info(type);
  if (info == nullptr) return unknown_type(type);
  if (in_features % info->block_elements != 0) {
    return fail(ErrorCode::invalid_argument, std::string(info->name) + ": in_features " + std::to_string(in_features) +
                                                 " is not a multiple of the block length " +
                                                 std::to_string(info->block_elements));
  }
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(in_features / info->block_elements, std::uint64_t{info->block_bytes}, &bytes)) {
    return fail(ErrorCode::invalid_argument, std::string(info->name) + ": a row of in_features " +
                                                 std::to_string(in_features) + " overflows 64 bits");
  }
  return bytes;
} catch (const std::bad_alloc&) {
  return out_of_memory("row_bytes: out of memory");
}

Result<std::uint64_t> matrix_bytes(GgufQuantType type, std::uint64_t out_features, std::uint64_t in_features) try {
  Result<std::uint64_t> row = row_bytes(type, in_features);
  if (!row) return row;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(*row, out_features, &bytes)) {
    return fail(ErrorCode::invalid_argument, std::string(to_string(type)) + ": " + std::to_string(out_features) +
                                                 " x " + std::to_string(in_features) +
                                                 " (out_features x in_features) overflows 64 bits of bytes");
  }
  return bytes;
} catch (const std::bad_alloc&) {
  return out_of_memory("matrix_bytes: out of memory");
}

Status dequantize(GgufQuantType type, std::span<const std::byte> blocks, std::span<float> out) try {
  const Entry* entry = find(type);
  if (entry == nullptr) return unknown_type(type);
  const Result<std::uint64_t> count = count_blocks(entry->info, blocks.size());
  if (!count) return std::unexpected(count.error());
  std::uint64_t elements = 0;
  if (__builtin_mul_overflow(*count, std::uint64_t{entry->info.block_elements}, &elements) || elements != out.size()) {
    return fail(ErrorCode::invalid_argument,
                std::string(entry->info.name) + ": out holds " + std::to_string(out.size()) + " floats, expected " +
                    std::to_string(elements) + " for " + std::to_string(*count) + " blocks");
  }
  const auto* block = reinterpret_cast<const std::uint8_t*>(blocks.data());
  for (std::uint64_t i = 0; i < *count; ++i) {
    entry->dequantize(block + i * entry->info.block_bytes, out.data() + i * entry->info.block_elements);
  }
  return {};
} catch (const std::bad_alloc&) {
  return out_of_memory("dequantize: out of memory");
}

Result<std::optional<std::uint64_t>> find_non_finite_block(GgufQuantType type, std::span<const std::byte> blocks) try {
  const Entry* entry = find(type);
  if (entry == nullptr) return unknown_type(type);
  const Result<std::uint64_t> count = count_blocks(entry->info, blocks.size());
  if (!count) return std::unexpected(count.error());
  const auto* block = reinterpret_cast<const std::uint8_t*>(blocks.data());
  std::array<float, 256> values{};
  for (std::uint64_t i = 0; i < *count; ++i) {
    entry->dequantize(block + i * entry->info.block_bytes, values.data());
    const std::span<const float> decoded(values.data(), entry->info.block_elements);
    if (!std::ranges::all_of(decoded, [](float v) { return std::isfinite(v); })) return std::optional(i);
  }
  return std::optional<std::uint64_t>();
} catch (const std::bad_alloc&) {
  return out_of_memory("find_non_finite_block: out of memory");
}

}  // namespace quantlinear
