// A kernel set proves itself before it is used: every set of this machine passes, and a kernel with one
// wrong bit is convicted with its place and replaced.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cpu/cpu_features.hpp"
#include "cpu/forward_plan.hpp"
#include "cpu/proof.hpp"
#include "quantlinear/cpu_backend.hpp"
#include "support/random_weights.hpp"

namespace quantlinear {
namespace {

using cpu::FormatKernels;
using cpu::InstructionSet;
using cpu::ProductArgs;
using cpu::Proof;
using Kind = GgufQuantType;

constexpr Precision kPrecisions[] = {Precision::f32, Precision::a16, Precision::a8};

const InstructionSet& scalar() { return cpu::instruction_sets().front(); }
const FormatKernels& q4_k() { return *scalar().find(Kind::Q4_K); }
constexpr std::size_t kA8 = static_cast<std::size_t>(Precision::a8);

std::vector<const InstructionSet*> usable() {
  std::vector<const InstructionSet*> sets;
  for (const InstructionSet& isa : cpu::instruction_sets()) {
    if ((isa.features & ~cpu::detect_features()) == 0) sets.push_back(&isa);
  }
  return sets;
}

void flip_last_bit(float& value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits ^= 1U;
  std::memcpy(&value, &bits, sizeof bits);
}

/// The scalar product with one bit of one result wrong, from kFrom activation rows on.
template <std::size_t kFrom, std::size_t kRow, std::size_t kColumn>
void wrong(const ProductArgs& args) noexcept {
  q4_k().product[kA8].run(args);
  if (args.x.m >= kFrom) flip_last_bit(args.out[kColumn * args.out_stride + kRow]);
}

/// A set named "faulty" of the scalar kernels, with the a8 product of Q4_K replaced.
struct Faulty {
  explicit Faulty(void (*run)(const ProductArgs&) noexcept) : kernels(q4_k()) {
    kernels.product[kA8].run = run;
    set = scalar();
    set.name = "faulty";
    set.formats = {&format, 1};
  }
  Faulty(const Faulty&) = delete;
  Faulty& operator=(const Faulty&) = delete;
  FormatKernels kernels;
  const FormatKernels* format = &kernels;
  InstructionSet set;
};

TEST(Proof, EverySetOfThisMachinePasses) {
  using Clock = std::chrono::steady_clock;
  for (const InstructionSet* set : usable()) {
    double longest = 0, sum = 0;
    for (const QuantTypeInfo& type : quant_types()) {
      for (const Precision precision : kPrecisions) {
        const auto start = Clock::now();
        const Proof proof = cpu::prove(*set, scalar(), type.type, precision);
        const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
        longest = std::max(longest, ms);
        sum += ms;
        EXPECT_EQ(proof.fault, Proof::Fault::none)
            << set->name << " " << type.name << " " << to_string(precision) << ": " << proof.where;
      }
    }
    RecordProperty(std::string(set->name) + "_longest_ms", std::to_string(longest));
    RecordProperty(std::string(set->name) + "_mean_ms",
                   std::to_string(sum / 3.0 / static_cast<double>(quant_types().size())));
  }
}

TEST(Proof, OneWrongBitIsConvictedWithItsPlace) {
  const Faulty faulty(wrong<1, 3, 0>);
  const Proof proof = cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a8);
  EXPECT_EQ(proof.fault, Proof::Fault::product);
  EXPECT_EQ(proof.where.find("product of weight row 3 and input row 0 of 1: found "), 0u) << proof.where;
  EXPECT_NE(proof.where.find(", expected "), std::string::npos) << proof.where;
  EXPECT_EQ(cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a16).fault, Proof::Fault::none);
}

TEST(Proof, OneWrongBitInTheGemmRegimeIsConvicted) {
  const Faulty faulty(wrong<17, 32, 16>);
  const Proof proof = cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a8);
  EXPECT_EQ(proof.fault, Proof::Fault::product);
  EXPECT_EQ(proof.where.find("product of weight row 32 and input row 16 of 17: found "), 0u) << proof.where;
}

TEST(Proof, OneWrongBitInLongRowsOfFloatsIsConvicted) {
  constexpr std::size_t kF32 = static_cast<std::size_t>(Precision::f32);
  FormatKernels kernels = *scalar().find(Kind::F16);
  kernels.product[kF32].run = [](const ProductArgs& args) noexcept {
    scalar().find(Kind::F16)->product[kF32].run(args);
    if (args.row_bytes >= 4096 && args.x.m == 2) flip_last_bit(args.out[args.out_stride + 7]);
  };
  const FormatKernels* format = &kernels;
  InstructionSet set = scalar();
  set.formats = {&format, 1};
  const Proof proof = cpu::prove(set, scalar(), Kind::F16, Precision::f32);
  EXPECT_EQ(proof.where.find("product in long rows of weight row 7 and input row 1 of 2: found "), 0u) << proof.where;
}

TEST(Proof, AResultThatIsNotWrittenIsConvicted) {
  const Faulty faulty([](const ProductArgs& args) noexcept {
    ProductArgs fewer = args;
    --fewer.row_end;
    q4_k().product[kA8].run(fewer);
  });
  const Proof proof = cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a8);
  EXPECT_EQ(proof.where.find("product of weight row 32 and input row 0 of 1: found "), 0u) << proof.where;
}

TEST(Proof, FaultsOfPrepareRowAndOfDecodingHaveTheirOwnNames) {
  Faulty faulty(q4_k().product[kA8].run);
  EXPECT_EQ(cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a8).fault, Proof::Fault::none);
  faulty.set.prepare_row = [](const cpu::ActivationSpec& spec, const float* x, std::size_t in_features, std::size_t row,
                              std::size_t m, void* values, void* meta) {
    const bool finite = scalar().prepare_row(spec, x, in_features, row, m, values, meta);
    if (row == 1) static_cast<std::int8_t*>(values)[cpu::kChunk] ^= 1;
    return finite;
  };
  Proof proof = cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a8);
  EXPECT_EQ(proof.fault, Proof::Fault::prepare_row);
  EXPECT_EQ(proof.where, "input row 1 of 2 is prepared with other bits");

  faulty.kernels.dequantize = [](const std::uint8_t* block, std::size_t blocks, float* out) noexcept {
    q4_k().dequantize(block, blocks, out);
    flip_last_bit(out[512 + 7]);
  };
  proof = cpu::prove(faulty.set, scalar(), Kind::Q4_K, Precision::a8);
  EXPECT_EQ(proof.fault, Proof::Fault::dequantize);
  EXPECT_EQ(proof.where.find("decoded weight 7 of row 1: found "), 0u) << proof.where;
  EXPECT_EQ(cpu::prove(faulty.set, scalar(), Kind::Q6_K, Precision::a8).fault, Proof::Fault::missing);
}

/// As proof_of, for sets that are not in the table.
const Proof& fresh_proof(const InstructionSet& set, GgufQuantType kind, Precision precision) {
  static Proof proof;
  return proof = cpu::prove(set, scalar(), kind, precision);
}

TEST(ChoiceOfKernels, APartWhoseSetFailsTakesTheNextWeakerOne) {
  const Faulty first(wrong<1, 3, 0>), second(wrong<9, 5, 9>);
  const std::vector<QuantPart> parts = {{Kind::Q4_K, QuantBytes::own(test::random_weights(Kind::Q4_K, 4, 256, 1)), 4}};
  const InstructionSet* const choices[] = {&first.set, &second.set, &scalar()};
  const auto layer = cpu::choose_kernels(choices, parts, 256, 4, Precision::a8, StoreLayout::as_in_file, fresh_proof);
  ASSERT_TRUE(layer);
  EXPECT_EQ(layer->parts[0].set, &scalar());
  EXPECT_EQ(layer->parts[0].product, &q4_k().product[kA8]);
  const std::string& reason = layer->parts[0].reason;
  for (const char* words :
       {"faulty kernels of Q4_K a8 failed their proof: product of weight row 3 and input row 0 of 1",
        "product of weight row 5 and input row 9 of 15: found ", "; using scalar"}) {
    EXPECT_NE(reason.find(words), std::string::npos) << reason;
  }
  const auto other = cpu::choose_kernels(choices, parts, 256, 4, Precision::f32, StoreLayout::as_in_file, fresh_proof);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->parts[0].set, &first.set);
  EXPECT_EQ(other->parts[0].reason, "");

  const auto forced =
      cpu::choose_kernels({choices, 1}, parts, 256, 4, Precision::a8, StoreLayout::as_in_file, fresh_proof);
  ASSERT_FALSE(forced);
  EXPECT_EQ(forced.error().code, ErrorCode::unsupported);
  EXPECT_EQ(forced.error().message.find("cpu: faulty kernels of Q4_K a8 failed their proof: "), 0u)
      << forced.error().message;
}

TEST(ChoiceOfKernels, ActivationsArePreparedByASetThatWasProvedWithThem) {
  Faulty faulty(q4_k().product[kA8].run);
  faulty.set.prepare_row = [](const cpu::ActivationSpec&, const float*, std::size_t, std::size_t, std::size_t, void*,
                              void*) { return true; };
  const std::vector<QuantPart> parts = {{Kind::Q4_K, QuantBytes::own(test::random_weights(Kind::Q4_K, 4, 256, 1)), 4}};
  const InstructionSet* const choices[] = {&faulty.set, &scalar()};
  const auto layer = cpu::choose_kernels(choices, parts, 256, 4, Precision::a8, StoreLayout::as_in_file, fresh_proof);
  ASSERT_TRUE(layer);
  const cpu::PreparedLayout prepared = cpu::plan_forward(*layer, parts, 3, 1).prepared;
  ASSERT_EQ(prepared.entries.size(), 1u);
  EXPECT_EQ(prepared.all()[0].prepare_row, scalar().prepare_row);
}

TEST(Proof, RunsOncePerProcessForAllThreads) {
  const InstructionSet& set = *usable().back();
  std::vector<const Proof*> proofs(8);
  {
    std::vector<std::jthread> threads;
    for (const Proof*& proof : proofs) {
      threads.emplace_back([&proof, &set] { proof = &cpu::proof_of(set, Kind::Q5_K, Precision::a8); });
    }
  }
  for (const Proof* proof : proofs) {
    EXPECT_EQ(proof, proofs[0]);
    EXPECT_EQ(proof->fault, Proof::Fault::none) << proof->where;
  }
  const CpuBackend cpu;
  const auto weights = test::random_weights(Kind::Q5_K, 4, 256, 1);
  const auto store = cpu.load_quant({Kind::Q5_K, QuantBytes::borrow(weights), 4}, 256);
  ASSERT_TRUE(store);
  EXPECT_EQ(cpu.explain(*store, 1).parts[0].instruction_set, set.name);
  EXPECT_EQ(cpu.explain(*store, 1).parts[0].reason, "");
}

}  // namespace
}  // namespace quantlinear
