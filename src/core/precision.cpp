#include "quantlinear/precision.hpp"

namespace quantlinear {

std::string_view to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::f32:
      return "f32";
    case Precision::a16:
      return "a16";
    case Precision::a8:
      return "a8";
  }
  return "unknown";
}

std::optional<Precision> precision_from_name(std::string_view name) noexcept {
  for (const Precision precision : {Precision::f32, Precision::a16, Precision::a8}) {
    if (name == to_string(precision)) return precision;
  }
  return std::nullopt;
}

}  // namespace quantlinear
