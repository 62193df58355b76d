// The only file that names all backends.
#include <new>
#include <string>

#include "core/printable.hpp"
#include "quantlinear/any_backend.hpp"
#include "quantlinear/reference_backend.hpp"

namespace quantlinear {
namespace {

Result<AnyBackend> make_cpu(const CpuOptions& options) {
  CpuBackend cpu(options);
  if (Status s = cpu.status(); !s) return std::unexpected(std::move(s.error()));
  return AnyBackend(cpu);
}

Result<AnyBackend> make_reference(const CpuOptions&) { return AnyBackend(ReferenceBackend()); }

constexpr struct {
  std::string_view name;
  Result<AnyBackend> (*make)(const CpuOptions& options);
} kBackends[] = {{"cpu", make_cpu}, {"reference", make_reference}};

}  // namespace

Result<AnyBackend> make_backend(std::string_view name, const CpuOptions& options) try {
  std::string known;
  for (const auto& backend : kBackends) {
    if (backend.name == name) return backend.make(options);
    known += (known.empty() ? "" : ", ") + std::string(backend.name);
  }
  return fail(ErrorCode::not_found,
              "backend \"" + detail::printable(name) + "\": not in this build, expected one of " + known);
} catch (const std::bad_alloc&) {
  return out_of_memory("cannot allocate a backend");
}

}  // namespace quantlinear
