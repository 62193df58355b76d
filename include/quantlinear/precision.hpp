// How exact a product is: part of the contract, chosen by the caller (see docs/numerics.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace quantlinear {

/// Precision of the activations in `out = input * dequant(W)^T`. The weights are never requantised:
/// every precision uses exactly the values that the GGUF blocks define.
///   f32  exact f32 weights times f32 activations
///   a16  activations rounded to integers of up to 16 bits, one f32 scale per 32 or 256 of them
///   a8   activations rounded to 8-bit integers, one f32 scale per 32 or 256 of them
/// A precision is a floor: a backend runs at least that exact for every m, and float weight types
/// (F32, F16, BF16) always run f32.
enum class Precision : std::uint8_t { f32, a16, a8 };

/// "f32", "a16" or "a8".
[[nodiscard]] std::string_view to_string(Precision precision) noexcept;
[[nodiscard]] std::optional<Precision> precision_from_name(std::string_view name) noexcept;

}  // namespace quantlinear
