// The CPU backend: blocks stay as they are in the file; kernels are chosen at run time.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantlinear/backend.hpp"
#include "quantlinear/executor.hpp"
#include "quantlinear/host_buffer.hpp"

namespace quantlinear {

struct CpuOptions {
  std::shared_ptr<Executor> executor = {};  ///< the caller's threads; empty: a pool made from `threads`
  ThreadPoolOptions threads = {};           ///< of the default pool
  Precision precision = Precision::a8;      ///< default of layers that do not say
  /// Name of the instruction set to use ("scalar", "avx2", ...); empty: the best that this machine
  /// runs. One that the build lacks or the machine cannot run is an `unsupported` error of every call.
  /// The first load of a (weight type, precision) in a process compares the kernels with the scalar ones,
  /// bit for bit, in about a millisecond. Where they differ, the next weaker set is taken for these
  /// parts and `explain` says why; if the set is named here, loading is an `unsupported` error instead.
  /// On Linux and a CPU with AMX, a backend asks for the tile registers, once and for the whole process
  /// (arch_prctl(2)): stacks for signal handlers (sigaltstack(2)) need room for them from then on. Where Linux refuses,
  /// that set is not usable.
  std::string instruction_set = {};
};

/// An instruction set of this build.
struct InstructionSetInfo {
  std::string_view name;
  bool usable = false;      ///< the CPU has it and the operating system saves its registers
  std::string_view reason;  ///< why not, if not usable
};

class CpuBackend {
 public:
  using Buffer = HostBuffer;
  using Input = HostInputView;
  using Output = HostOutputView;
  class Context;
  class QuantStore;
  class PreparedInput;

  CpuBackend() : CpuBackend(CpuOptions{}) {}
  explicit CpuBackend(const CpuOptions& options);
  // Copies only: a moved-from backend would be a handle to nothing.
  CpuBackend(const CpuBackend&) = default;
  CpuBackend& operator=(const CpuBackend&) = default;
  ~CpuBackend() = default;

  /// The error that every call of this backend will return, if the options cannot be honoured.
  [[nodiscard]] Status status() const;
  [[nodiscard]] std::string_view name() const noexcept { return "cpu"; }
  /// The instruction set in use, e.g. "avx2".
  [[nodiscard]] std::string_view instruction_set() const noexcept;
  [[nodiscard]] std::size_t threads() const noexcept;
  /// All instruction sets of this build, weakest first. Static storage. Empty if there is no memory for them.
  [[nodiscard]] static std::span<const InstructionSetInfo> instruction_sets();

  [[nodiscard]] Result<Context> new_context() const;
  [[nodiscard]] Result<HostBuffer> allocate(std::uint64_t count) const { return HostBuffer::allocate(count); }
  [[nodiscard]] Status upload(std::span<const float> source, HostBuffer& target) const;
  [[nodiscard]] Status download(Context& ctx, const HostBuffer& source, std::span<float> target) const;

  /// Parts are interleaved on request (LoadOptions::layout) in a8 from 16 rows on, by the executor's threads: of Q4_0,
  /// Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, IQ4_XS, Q2_K, Q4_K and TQ2_0 on AVX2 and AVX-VNNI, also of Q3_K, Q5_K and Q6_K on
  /// AVX-512. Copies are in huge pages, as far as the system grants them, for which one of 2 MiB or more may be
  /// rounded up by a sixteenth. The memory is the file's bytes once more until its mapping is closed or its pages are
  /// reclaimed.
  [[nodiscard]] Result<QuantStore> load_quant(const QuantPart& part, std::uint64_t in_features,
                                              const LoadOptions& options = {}) const;
  [[nodiscard]] Result<QuantStore> load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                    const LoadOptions& options = {}) const;
  [[nodiscard]] Status gemm_quant(Context& ctx, const HostInput& input, const QuantStore& store, const HostOutput& out,
                                  std::uint64_t m) const;

  /// Quantises m rows of x [m, in_features] once for several separate stores over the same input (q, k and
  /// v; gate and up): in every way that one of `stores` needs. x and the stores may go afterwards.
  /// invalid_argument if the list is empty, holds null or stores of different in_features, or if x does
  /// not fit; out_of_memory. Thread-safe.
  [[nodiscard]] Result<PreparedInput> prepare(const HostInput& x, std::uint64_t m,
                                              std::span<const QuantStore* const> stores) const;
  [[nodiscard]] Result<PreparedInput> prepare(const HostInput& x, std::uint64_t m,
                                              std::initializer_list<const QuantStore*> stores) const;
  /// out [input.rows(), out_features], the same bits as from x itself. invalid_argument if the rows have
  /// another length than the store's, lack the preparation that it needs (it was not among the stores, or
  /// `input` is of a backend of another instruction set), or if out does not fit.
  [[nodiscard]] Status gemm_quant(Context& ctx, const PreparedInput& input, const QuantStore& store,
                                  const HostOutput& out) const;

  [[nodiscard]] Status get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                                const HostOutput& out) const;
  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const;
  /// What load_quant_fused and then one forward of m rows will take, exactly.
  [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                              std::uint64_t m, const LoadOptions& options = {}) const;
  /// What this backend's stores, contexts and prepared inputs hold now.
  [[nodiscard]] MemoryUse ledger() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Scratch memory of one caller: grows to what the largest forward needed and is reused. gemm_quant with one that was
/// moved from is an error value.
class CpuBackend::Context {
 public:
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;
  ~Context();
  /// Nothing to wait for: a CPU runs the work inline.
  [[nodiscard]] Status flush() { return {}; }

 private:
  friend class CpuBackend;
  struct Impl;
  explicit Context(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Activations that are quantised already, made by prepare(). Immutable and move-only; owns its memory (transient
/// bytes of the ledger). Any number of threads may read one at once, each with its own Context.
class CpuBackend::PreparedInput {
 public:
  PreparedInput(PreparedInput&&) noexcept;
  PreparedInput& operator=(PreparedInput&&) noexcept;
  ~PreparedInput();
  /// 0 once moved from; using it then is an error value.
  [[nodiscard]] std::uint64_t in_features() const noexcept;
  [[nodiscard]] std::uint64_t rows() const noexcept;

 private:
  friend class CpuBackend;
  struct Impl;
  explicit PreparedInput(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

/// Weights still quantised: the bytes of each part where QuantBytes has them, or of its own (StoreLayout). Immutable.
class CpuBackend::QuantStore {
 public:
  QuantStore(QuantStore&&) noexcept;
  QuantStore& operator=(QuantStore&&) noexcept;
  ~QuantStore();
  [[nodiscard]] std::uint64_t in_features() const noexcept;
  [[nodiscard]] std::uint64_t out_features() const noexcept;
  [[nodiscard]] std::span<const QuantPart> parts() const noexcept;
  /// Writes the blocks of part `index` as they are in the file. invalid_argument if there is no such part or target is
  /// not of exactly their size.
  [[nodiscard]] Status export_part(std::size_t index, std::span<std::byte> target) const;
  [[nodiscard]] Precision precision() const noexcept;

 private:
  friend class CpuBackend;
  struct Impl;
  explicit QuantStore(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

inline Result<CpuBackend::PreparedInput> CpuBackend::prepare(const HostInput& x, std::uint64_t m,
                                                             std::initializer_list<const QuantStore*> stores) const {
  return prepare(x, m, std::span<const QuantStore* const>(stores.begin(), stores.size()));
}

static_assert(Backend<CpuBackend>);

}  // namespace quantlinear
