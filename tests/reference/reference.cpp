#include "reference.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

namespace reference {
namespace {

using Block = const std::byte*;
using Index = std::size_t;

// ---- bits and numbers --------------------------------------------------------------------------

/// `width` bits from bit `first` on, of the little-endian string of bits that starts at `byte`.
unsigned field(Block b, Index byte, Index first, unsigned width) {
  unsigned value = 0;
  for (unsigned n = 0; n < width; ++n) {
    const Index bit = first + n;
    value |= (std::to_integer<unsigned>(b[byte + bit / 8]) >> (bit % 8) & 1u) << n;
  }
  return value;
}
unsigned byte_at(Block b, Index byte) { return field(b, byte, 0, 8); }
int signed_byte(Block b, Index byte) {
  const int value = static_cast<int>(byte_at(b, byte));
  return value < 128 ? value : value - 256;
}

double half_of(unsigned bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31u), fraction = static_cast<int>(bits & 1023u);
  double magnitude;
  if (exponent == 0) {
    magnitude = std::ldexp(fraction, -24);
  } else if (exponent < 31) {
    magnitude = std::ldexp(1024 + fraction, exponent - 25);
  } else {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  return (bits >> 15 & 1u) != 0 ? -magnitude : magnitude;
}
double half(Block b, Index byte) { return half_of(field(b, byte, 0, 16)); }

/// `a` - `b` for unsigned fields, as a double.
double less(unsigned a, int b) { return static_cast<double>(a) - b; }

/// Four bits of weight i where `step` bytes hold 2 * step weights, low nibbles the first `step`.
unsigned nibble(Block b, Index first_byte, Index i, Index step) {
  const Index pair = i / (2 * step), high = i / step % 2;
  return field(b, first_byte + pair * step + i % step, 4 * high, 4);
}
/// Two bits of weight i where 32 bytes hold 128 weights, bits 0..1 the first 32, and so on.
unsigned crumb(Block b, Index first_byte, Index i) {
  return field(b, first_byte + i / 128 * 32 + i % 32, i / 32 % 4 * 2, 2);
}
/// Bit i / 32 of byte i % 32.
unsigned bit_plane(Block b, Index first_byte, Index i) { return field(b, first_byte + i % 32, i / 32, 1); }

// ---- floats ------------------------------------------------------------------------------------

double f32(Block b, Index) { return static_cast<double>(std::bit_cast<float>(field(b, 0, 0, 32))); }
double f16(Block b, Index) { return half(b, 0); }
double bf16(Block b, Index) { return static_cast<double>(std::bit_cast<float>(field(b, 0, 0, 16) << 16)); }

// ---- small blocks ------------------------------------------------------------------------------

double q4_0(Block b, Index i) { return half(b, 0) * less(nibble(b, 2, i, 16), 8); }
double q4_1(Block b, Index i) { return half(b, 0) * nibble(b, 4, i, 16) + half(b, 2); }
double q5_0(Block b, Index i) { return half(b, 0) * less(nibble(b, 6, i, 16) + 16 * field(b, 2, i, 1), 16); }
double q5_1(Block b, Index i) { return half(b, 0) * (nibble(b, 8, i, 16) + 16 * field(b, 4, i, 1)) + half(b, 2); }
double q8_0(Block b, Index i) { return half(b, 0) * signed_byte(b, 2 + i); }
double q1_0(Block b, Index i) { return field(b, 2, i, 1) != 0 ? half(b, 0) : -half(b, 0); }
double q2_0(Block b, Index i) { return half(b, 0) * less(field(b, 2, 2 * i, 2), 1); }

/// E2M1, doubled. There is no negative zero.
int fp4(unsigned code) {
  constexpr int kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return kValues[code];
}
double mxfp4(Block b, Index i) { return std::ldexp(fp4(nibble(b, 1, i, 16)), static_cast<int>(byte_at(b, 0)) - 128); }
double nvfp4(Block b, Index i) {
  const unsigned code = byte_at(b, i / 16);  // 0xff is not the special 0x7f: only there does the top bit count
  const int exponent = static_cast<int>(code >> 3 & 15u), fraction = static_cast<int>(code & 7u);
  double scale = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  if (code == 0x7f) scale = 0;
  return scale / 2 * fp4(nibble(b, 4, i, 8));
}

int iq4(unsigned index) {
  constexpr int kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return kValues[index];
}
double iq4_nl(Block b, Index i) { return half(b, 0) * iq4(nibble(b, 2, i, 16)); }

// ---- super-blocks of 256 -----------------------------------------------------------------------

double q2_k(Block b, Index i) {
  const unsigned scale = field(b, i / 16, 0, 4), min = field(b, i / 16, 4, 4);
  return half(b, 80) * scale * crumb(b, 16, i) - half(b, 82) * min;
}
double q3_k(Block b, Index i) {
  const Index j = i / 16;
  const unsigned scale = nibble(b, 96, j, 8) + 16 * field(b, 104 + j % 4, 2 * (j / 4), 2);
  return half(b, 108) * less(scale, 32) * less(crumb(b, 32, i) + 4 * bit_plane(b, 0, i), 4);
}

struct SixBits {
  unsigned scale, min;
};
SixBits six_bits(Block b, Index first_byte, Index j) {
  const auto part = [&](Index byte, Index first, unsigned width) { return field(b, first_byte + byte, first, width); };
  if (j < 4) return {part(j, 0, 6), part(j + 4, 0, 6)};
  return {part(j + 4, 0, 4) + 16 * part(j - 4, 6, 2), part(j + 4, 4, 4) + 16 * part(j, 6, 2)};
}
double q4_k(Block b, Index i) {
  const auto [scale, min] = six_bits(b, 4, i / 32);
  return half(b, 0) * scale * nibble(b, 16, i, 32) - half(b, 2) * min;
}
double q5_k(Block b, Index i) {
  const auto [scale, min] = six_bits(b, 4, i / 32);
  return half(b, 0) * scale * (nibble(b, 48, i, 32) + 16 * bit_plane(b, 16, i)) - half(b, 2) * min;
}
double q6_k(Block b, Index i) {
  const Index within = i % 128;
  const unsigned low = field(b, 64 * (i / 128) + within % 64, within < 64 ? 0 : 4, 4);
  return half(b, 208) * signed_byte(b, 192 + i / 16) * less(low + 16 * crumb(b, 128, i), 32);
}

double tq1_0(Block b, Index i) {
  const auto trit = [&](Index byte, Index n) {
    unsigned fraction = byte_at(b, byte);
    for (; n != 0; --n) fraction = 3 * fraction % 256;
    return less(3 * fraction / 256, 1) * half(b, 52);
  };
  if (i < 160) return trit(i % 32, i / 32);
  if (i < 240) return trit(32 + (i - 160) % 16, (i - 160) / 16);
  return trit(48 + (i - 240) % 4, (i - 240) / 4);
}
double tq2_0(Block b, Index i) { return half(b, 64) * less(crumb(b, 0, i), 1); }

// ---- code books --------------------------------------------------------------------------------

/// Rows of an index, counted from 0, and `width` values; lines with # are comments.
class CodeBook {
 public:
  CodeBook(const char* name, Index rows, Index width) : width_(width) {
    const std::string path = std::string(QUANTLINEAR_SOURCE_DIR "/src/formats/tables/") + name + ".tsv";
    std::ifstream file(path);
    std::string line;
    Index row = 0;
    while (std::getline(file, line)) {
      if (line.empty() || line[0] == '#') continue;
      std::istringstream fields(line);
      Index index = 0;
      bool good = (fields >> index) && index == row++;
      int value = 0;
      for (Index i = 0; i < width; ++i) {
        good = good && (fields >> value);
        values_.push_back(value);
      }
      if (!good || fields >> value) throw std::runtime_error("bad line in " + path + ": " + line);
    }
    if (row != rows) throw std::runtime_error("wrong number of rows in " + path);
  }
  [[nodiscard]] int value(Index index, Index i) const { return values_.at(index * width_ + i); }

 private:
  Index width_;
  std::vector<int> values_;
};

/// -1 or 1: a 7-bit sign index, whose eighth sign makes the number of minus signs even.
int sign(unsigned index, Index i) {
  const int parity = std::popcount(index) % 2;
  return (i < 7 ? static_cast<int>(index >> i & 1u) : parity) != 0 ? -1 : 1;
}
/// -1 or 1 from bit i of a plain bit string.
int plain_sign(Block b, Index byte, Index i) { return field(b, byte, i, 1) != 0 ? -1 : 1; }

double iq1(double d, unsigned scale, unsigned index, Index i, bool minus) {
  static const CodeBook book("iq1_grid", 2048, 8);
  return d * (2 * scale + 1) * (book.value(index, i % 8) + (minus ? -0.125 : 0.125));
}
double iq1_s(Block b, Index i) {
  const Index g = i / 8, j = i / 32;
  const Index word = 34 + 2 * j;
  const unsigned index = byte_at(b, 2 + g) + 256 * field(b, word, 3 * (g % 4), 3);
  return iq1(half(b, 0), field(b, word, 12, 3), index, i, field(b, word, 15, 1) != 0);
}
double iq1_m(Block b, Index i) {
  const Index g = i / 8, j = i / 16;
  unsigned d = 0;
  for (unsigned n = 0; n < 4; ++n) d |= field(b, 48 + 2 * n, 12, 4) << (4 * n);
  const unsigned index = byte_at(b, g) + 256 * field(b, 32, 4 * g, 3);
  const unsigned scale = field(b, 48 + 2 * (j / 4), 3 * (j % 4), 3);
  return iq1(half_of(d), scale, index, i, field(b, 32, 4 * g + 3, 1) != 0);
}

double iq2_xxs(Block b, Index i) {
  static const CodeBook book("iq2_xxs_grid", 256, 8);
  const Index g = i / 8 % 4, group = 2 + i / 32 * 8;
  const int value = book.value(byte_at(b, group + g), i % 8) * sign(field(b, group + 4, 7 * g, 7), i % 8);
  return half(b, 0) / 8 * (2 * field(b, group + 4, 28, 4) + 1) * value;
}
double iq2_xs(Block b, Index i) {
  static const CodeBook book("iq2_xs_grid", 512, 8);
  const Index word = 2 + i / 8 * 2;
  const int value = book.value(field(b, word, 0, 9), i % 8) * sign(field(b, word, 9, 7), i % 8);
  return half(b, 0) / 8 * (2 * field(b, 66, 4 * (i / 16), 4) + 1) * value;
}
double iq2_s(Block b, Index i) {
  static const CodeBook book("iq2_s_grid", 1024, 8);
  const Index g = i / 8;
  const unsigned index = byte_at(b, 2 + g) + 256 * field(b, 66, 2 * g, 2);
  const int value = book.value(index, i % 8) * plain_sign(b, 34, i);
  return half(b, 0) / 8 * (2 * field(b, 74, 4 * (i / 16), 4) + 1) * value;
}
double iq3_xxs(Block b, Index i) {
  static const CodeBook book("iq3_xxs_grid", 256, 4);
  const Index word = 66 + i / 32 * 4;
  const int value = book.value(byte_at(b, 2 + i / 4), i % 4) * sign(field(b, word, 7 * (i / 8 % 4), 7), i % 8);
  return half(b, 0) / 4 * (2 * field(b, word, 28, 4) + 1) * value;
}
double iq3_s(Block b, Index i) {
  static const CodeBook book("iq3_s_grid", 512, 4);
  const Index g = i / 4;
  const unsigned index = byte_at(b, 2 + g) + 256 * field(b, 66, g, 1);
  const int value = book.value(index, i % 4) * plain_sign(b, 74, i);
  return half(b, 0) * (2 * field(b, 106, 4 * (i / 32), 4) + 1) * value;
}
double iq4_xs(Block b, Index i) {
  const Index j = i / 32;
  const unsigned scale = field(b, 4, 4 * j, 4) + 16 * field(b, 2, 2 * j, 2);
  return half(b, 0) * less(scale, 32) * iq4(nibble(b, 8, i, 16));
}

// ---- the list ----------------------------------------------------------------------------------

struct Format {
  std::uint32_t id;
  Index elements, bytes;
  double (*weight)(Block, Index);
};
constexpr std::array<Format, 28> kFormats = {{
    {0, 1, 4, f32},       {1, 1, 2, f16},       {2, 32, 18, q4_0},      {3, 32, 20, q4_1},     {6, 32, 22, q5_0},
    {7, 32, 24, q5_1},    {8, 32, 34, q8_0},    {10, 256, 84, q2_k},    {11, 256, 110, q3_k},  {12, 256, 144, q4_k},
    {13, 256, 176, q5_k}, {14, 256, 210, q6_k}, {16, 256, 66, iq2_xxs}, {17, 256, 74, iq2_xs}, {18, 256, 98, iq3_xxs},
    {19, 256, 50, iq1_s}, {20, 32, 18, iq4_nl}, {21, 256, 110, iq3_s},  {22, 256, 82, iq2_s},  {23, 256, 136, iq4_xs},
    {29, 256, 56, iq1_m}, {30, 1, 2, bf16},     {34, 256, 54, tq1_0},   {35, 256, 66, tq2_0},  {39, 32, 17, mxfp4},
    {40, 64, 36, nvfp4},  {41, 128, 18, q1_0},  {42, 64, 18, q2_0},
}};

}  // namespace

std::vector<double> decode(std::uint32_t ggml_type_id, std::span<const std::byte> blocks) {
  for (const Format& format : kFormats) {
    if (format.id != ggml_type_id) continue;
    if (blocks.size() % format.bytes != 0) throw std::invalid_argument("reference: part of a block");
    std::vector<double> weights;
    weights.reserve(blocks.size() / format.bytes * format.elements);
    for (Index at = 0; at < blocks.size(); at += format.bytes) {
      for (Index i = 0; i < format.elements; ++i) weights.push_back(format.weight(blocks.data() + at, i));
    }
    return weights;
  }
  throw std::invalid_argument("reference: no weight type " + std::to_string(ggml_type_id));
}

std::vector<double> matmul(std::span<const double> w, std::size_t rows, std::size_t columns, std::span<const float> x,
                           std::size_t m) {
  if (w.size() != rows * columns || x.size() != m * columns) throw std::invalid_argument("reference: wrong size");
  std::vector<double> y;
  y.reserve(m * rows);
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (std::size_t k = 0; k < columns; ++k) sum += w[r * columns + k] * static_cast<double>(x[i * columns + k]);
      y.push_back(sum);
    }
  }
  return y;
}

}  // namespace reference
