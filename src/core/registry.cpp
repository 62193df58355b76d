// The only file that names all backends.
#include "quantlinear/any_backend.hpp"
#include "quantlinear/reference_backend.hpp"

namespace quantlinear {

Result<AnyBackend> make_backend(std::string_view name, const CpuOptions& options) {
  if (name == "cpu") {
    CpuBackend cpu(options);
    if (Status s = cpu.status(); !s) return std::unexpected(s.error());
    return AnyBackend(std::move(cpu));
  }
  if (name == "reference") return AnyBackend(ReferenceBackend());
  return fail(ErrorCode::not_found,
              "backend \"" + std::string(name) + "\": not in this build, which has cpu, reference");
}

}  // namespace quantlinear
