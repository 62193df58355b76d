// Every format against the golden data, and its integer form against its own definition.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "cpu/isa/scalar_vocabulary.hpp"
#include "formats/all.hpp"
#include "quantlinear/quant_type.hpp"
#include "support/golden.hpp"

namespace quantlinear {
namespace {

using cpu::ScalarVocabulary;
using formats::Family;

/// Equal bits, or both NaN: which NaN an operation gives is the machine's business.
bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b); }

class EveryType : public testing::TestWithParam<QuantTypeInfo> {};

TEST_P(EveryType, DecodesTheGoldenDataToTheSameBits) {
  const test::GoldenFile golden = test::load_golden(GetParam());
  for (const std::string set : {"w", "bits"}) {
    const test::GoldenTensor& weight = golden[set + ".weight"];
    ASSERT_EQ(weight.type, static_cast<std::uint32_t>(GetParam().type));
    const std::vector<float> expected = golden[set + ".dequantized"].floats();
    std::vector<float> found(expected.size());
    ASSERT_TRUE(dequantize(GetParam().type, weight.bytes, found));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(same(found[i], expected[i])) << set << "[" << i << "]: " << found[i] << " is not " << expected[i];
    }
  }
}

std::string type_name(const testing::TestParamInfo<QuantTypeInfo>& info) { return std::string(info.param.name); }
INSTANTIATE_TEST_SUITE_P(Formats, EveryType, testing::ValuesIn(quant_types().begin(), quant_types().end()), type_name);

// ---- the integer form --------------------------------------------------------------------------

template <class F>
class IntegerForm : public testing::Test {};

template <class F>
std::vector<float> from_integers(const std::uint8_t* block) {
  std::vector<float> w;
  std::int8_t scale[16] = {}, min[16] = {};
  if constexpr (F::kFamily == Family::super_block) {
    const auto s = F::template scales<ScalarVocabulary>(block);
    std::memcpy(scale, s.byte, 16);
    if constexpr (F::kHasMin) {
      const auto m = F::template mins<ScalarVocabulary>(block);
      std::memcpy(min, m.byte, 16);
    }
    for (int j = 0; j < 256 / F::kScaleStep; ++j) {
      EXPECT_LE(std::abs(scale[j]), F::kMaxScale);
      EXPECT_GE(min[j], 0);
    }
  }
  [&]<int... J>(std::integer_sequence<int, J...>) {
    const auto group = [&](int j, const ScalarVocabulary::U8x32& u) {
      for (int i = 0; i < 32; ++i) {
        EXPECT_LE(u.byte[i], F::kMaxU);
        const auto q = static_cast<float>(u.byte[i] - F::kOffset);
        const int step = (32 * j + i) / F::kScaleStep;
        if constexpr (F::kFamily == Family::super_block) {
          const float d = formats::half_to_float(F::d_bits(block)) * F::kFactor;
          float value = d * static_cast<float>(scale[step]) * q;
          if constexpr (F::kHasMin)
            value -= formats::half_to_float(F::dmin_bits(block)) * static_cast<float>(min[step]);
          w.push_back(value);
        } else {
          float value;
          if constexpr (requires { F::scale(block, 0); }) {
            value = F::scale(block, step) * q;
          } else {
            value = formats::half_to_float(F::d_bits(block)) * q;
          }
          if constexpr (F::kHasMin) value += formats::half_to_float(F::m_bits(block));
          w.push_back(value);
        }
      }
    };
    (group(J, F::template group<ScalarVocabulary, J>(block)), ...);
  }(std::make_integer_sequence<int, F::kBlockElements / 32>{});
  return w;
}

template <class F>
void expect_integer_form() {
  if constexpr (F::kFamily != Family::float_weight) {
    std::mt19937 random(7);
    for (int round = 0; round < 2000; ++round) {
      std::uint8_t block[F::kBlockBytes];
      for (std::uint8_t& byte : block) byte = static_cast<std::uint8_t>(random());
      if (round == 0) std::memset(block, 0, sizeof block);
      if (round == 1) std::memset(block, 0xff, sizeof block);
      float expected[F::kBlockElements];
      F::dequantize(block, expected);
      const std::vector<float> found = from_integers<F>(block);
      ASSERT_EQ(found.size(), static_cast<std::size_t>(F::kBlockElements));
      for (std::size_t i = 0; i < found.size(); ++i) {
        ASSERT_TRUE(same(found[i], expected[i]))
            << "round " << round << " weight " << i << ": " << found[i] << " is not " << expected[i];
      }
    }
  }
}

TEST(IntegerForm, GivesTheBitsOfTheDefinition) {
#define QL_QUANT_TYPE(name, file, id)     \
  {                                       \
    SCOPED_TRACE(#name);                  \
    expect_integer_form<formats::name>(); \
  }
#include "quantlinear/quant_types.def"
#undef QL_QUANT_TYPE
}

// ---- sizes and errors --------------------------------------------------------------------------

TEST(QuantType, ChecksColumnsNotElements) {
  EXPECT_EQ(row_bytes(GgufQuantType::Q4_K, 512).value(), 288u);
  EXPECT_EQ(matrix_bytes(GgufQuantType::Q4_K, 0, 256).value(), 0u);
  EXPECT_EQ(matrix_bytes(GgufQuantType::Q4_K, 7, 0).value(), 0u);
  const auto half_a_block = matrix_bytes(GgufQuantType::Q4_K, 2, 128);
  ASSERT_FALSE(half_a_block);
  EXPECT_EQ(half_a_block.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(half_a_block.error().message, "Q4_K: in_features 128 is not a multiple of the block length 256");
}

TEST(QuantType, RefusesWhatOverflows) {
  EXPECT_FALSE(row_bytes(GgufQuantType::F32, std::uint64_t{1} << 62));
  EXPECT_FALSE(matrix_bytes(GgufQuantType::Q8_0, (std::uint64_t{1} << 42) + 1, std::uint64_t{1152} << 16));
  EXPECT_FALSE(row_bytes(static_cast<GgufQuantType>(4), 256));
}

TEST(QuantType, FindsByNameAndId) {
  EXPECT_EQ(quant_type_from_name("q4_k"), GgufQuantType::Q4_K);
  EXPECT_EQ(quant_type_from_name("Q4_K"), GgufQuantType::Q4_K);
  EXPECT_FALSE(quant_type_from_name("q4_k_m"));
  EXPECT_EQ(quant_type_from_id(14), GgufQuantType::Q6_K);
  EXPECT_FALSE(quant_type_from_id(15));
  EXPECT_EQ(to_string(static_cast<GgufQuantType>(99)), "unknown");
}

TEST(QuantType, DequantizeWritesNothingOnAnError) {
  std::vector<std::byte> blocks(144);
  std::vector<float> out(255, 7.0f);
  EXPECT_FALSE(dequantize(GgufQuantType::Q4_K, blocks, out));
  EXPECT_FALSE(dequantize(GgufQuantType::Q4_K, std::span(blocks).first(143), out));
  for (const float v : out) EXPECT_EQ(v, 7.0f);
}

TEST(QuantType, FindsABrokenBlock) {
  std::vector<std::byte> blocks(3 * 144);
  EXPECT_EQ(find_non_finite_block(GgufQuantType::Q4_K, blocks).value(), std::nullopt);
  blocks[144] = std::byte{0};
  blocks[145] = std::byte{0x7c};  // infinity
  EXPECT_EQ(find_non_finite_block(GgufQuantType::Q4_K, blocks).value(), 1u);
}

}  // namespace
}  // namespace quantlinear
