// The CPU backend: blocks stay as they are in the file; kernels are chosen at run time.
#pragma once

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
  /// bit for bit, in about half a millisecond. Where they differ, the next weaker set is taken for these
  /// parts and `explain` says why; if the set is named here, loading is an `unsupported` error instead.
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

  CpuBackend() : CpuBackend(CpuOptions{}) {}
  explicit CpuBackend(const CpuOptions& options);

  /// The error that every call of this backend will return, if the options cannot be honoured.
  [[nodiscard]] Status status() const;
  [[nodiscard]] std::string_view name() const noexcept { return "cpu"; }
  /// The instruction set in use, e.g. "avx2".
  [[nodiscard]] std::string_view instruction_set() const noexcept;
  [[nodiscard]] std::size_t threads() const noexcept;
  /// All instruction sets of this build, weakest first. Static storage.
  [[nodiscard]] static std::span<const InstructionSetInfo> instruction_sets();

  [[nodiscard]] Result<Context> new_context() const;
  [[nodiscard]] Result<HostBuffer> allocate(std::uint64_t count) const { return HostBuffer::allocate(count); }
  [[nodiscard]] Status upload(std::span<const float> source, HostBuffer& target) const;
  [[nodiscard]] Status download(Context& ctx, const HostBuffer& source, std::span<float> target) const;

  [[nodiscard]] Result<QuantStore> load_quant(const QuantPart& part, std::uint64_t in_features,
                                              const LoadOptions& options = {}) const;
  [[nodiscard]] Result<QuantStore> load_quant_fused(std::span<const QuantPart> parts, std::uint64_t in_features,
                                                    const LoadOptions& options = {}) const;
  [[nodiscard]] Status gemm_quant(Context& ctx, const HostInput& input, const QuantStore& store, const HostOutput& out,
                                  std::uint64_t m) const;
  [[nodiscard]] Status get_rows(Context& ctx, const QuantStore& store, std::span<const std::uint64_t> row_ids,
                                const HostOutput& out) const;
  [[nodiscard]] Explanation explain(const QuantStore& store, std::uint64_t m) const;
  /// What load_quant_fused and then one forward of m rows will take, exactly.
  [[nodiscard]] Result<MemoryUse> memory_plan(std::span<const QuantPart> parts, std::uint64_t in_features,
                                              std::uint64_t m, const LoadOptions& options = {}) const;
  /// What this backend's stores and contexts hold now.
  [[nodiscard]] MemoryUse ledger() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Scratch memory of one caller: grows to what the largest forward needed and is reused.
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

/// Weights still quantised: the bytes of each part where QuantBytes has them. Immutable.
class CpuBackend::QuantStore {
 public:
  QuantStore(QuantStore&&) noexcept;
  QuantStore& operator=(QuantStore&&) noexcept;
  ~QuantStore();
  [[nodiscard]] std::uint64_t in_features() const noexcept;
  [[nodiscard]] std::uint64_t out_features() const noexcept;
  [[nodiscard]] std::span<const QuantPart> parts() const noexcept;
  [[nodiscard]] Precision precision() const noexcept;

 private:
  friend class CpuBackend;
  struct Impl;
  explicit QuantStore(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

static_assert(Backend<CpuBackend>);

}  // namespace quantlinear
