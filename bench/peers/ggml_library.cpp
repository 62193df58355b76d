#include "ggml_library.hpp"

#include <dlfcn.h>

#include <array>
#include <cctype>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace peers {
namespace {

void* symbol(const std::string& name) { return dlsym(RTLD_DEFAULT, name.c_str()); }

template <class Function>
void find(Function*& target, const char* name) {
  target = reinterpret_cast<Function*>(symbol(name));
}

template <class Function>
void need(Function*& target, const char* name) {
  find(target, name);
  if (target == nullptr) throw std::runtime_error(std::string("the library does not export ") + name);
}

/// This process holds one peer only, so its symbols may be global.
void open_all(const std::filesystem::path& folder) {
  bool any = false;
  for (const char* name : {"libggml-base.so", "libggml-cpu.so", "libggml.so"}) {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::exists(path)) continue;
    if (dlopen(path.c_str(), RTLD_LAZY | RTLD_GLOBAL) == nullptr) throw std::runtime_error(dlerror());
    any = true;
  }
  if (!any) throw std::runtime_error("no libggml*.so in " + folder.string());
}

}  // namespace

GgmlLibrary::GgmlLibrary(const std::string& folder) {
  open_all(folder);
  need(init, "ggml_init");
  need(free, "ggml_free");
  need(tensor_overhead, "ggml_tensor_overhead");
  need(graph_overhead_custom, "ggml_graph_overhead_custom");
  need(new_tensor_2d, "ggml_new_tensor_2d");
  need(mul_mat, "ggml_mul_mat");
  need(new_graph_custom, "ggml_new_graph_custom");
  need(build_forward_expand, "ggml_build_forward_expand");
  need(type_name, "ggml_type_name");
  need(blck_size, "ggml_blck_size");
  need(type_size, "ggml_type_size");
  need(quantize_requires_imatrix, "ggml_quantize_requires_imatrix");
  need(quantize_chunk, "ggml_quantize_chunk");
  need(backend_cpu_init, "ggml_backend_cpu_init");
  need(backend_free, "ggml_backend_free");
  need(backend_cpu_set_n_threads, "ggml_backend_cpu_set_n_threads");
  need(backend_graph_compute, "ggml_backend_graph_compute");
  need(backend_cpu_buffer_type, "ggml_backend_cpu_buffer_type");
  need(backend_buft_alloc_buffer, "ggml_backend_buft_alloc_buffer");
  need(backend_buft_get_alloc_size, "ggml_backend_buft_get_alloc_size");
  need(backend_buffer_free, "ggml_backend_buffer_free");
  need(backend_buffer_get_base, "ggml_backend_buffer_get_base");
  need(backend_tensor_alloc, "ggml_backend_tensor_alloc");
  need(backend_alloc_ctx_tensors_from_buft, "ggml_backend_alloc_ctx_tensors_from_buft");
  need(backend_tensor_set, "ggml_backend_tensor_set");
  need(backend_tensor_get, "ggml_backend_tensor_get");
  find(backend_cpu_reg, "ggml_backend_cpu_reg");
  find(backend_reg_dev_get, "ggml_backend_reg_dev_get");
  find(backend_reg_get_proc_address, "ggml_backend_reg_get_proc_address");
  find(backend_dev_supports_op, "ggml_backend_dev_supports_op");
  find(repack_tensor, "iqk_repack_tensor");
  find(repacked_type, "iqk_repacked_type");
  // Its tables, which decoders read, are filled with the first context.
  if (Object context = init({4096, nullptr, true}); context != nullptr) free(context);
}

GgmlLibrary::RowDecoder GgmlLibrary::row_decoder(const std::string& name) const {
  // The library spells the k of the k-quants in upper case, everything else in lower case.
  if (name == "f16") return reinterpret_cast<RowDecoder>(symbol("ggml_fp16_to_fp32_row"));
  if (name == "bf16") return reinterpret_cast<RowDecoder>(symbol("ggml_bf16_to_fp32_row"));
  std::string spelled = name;
  if (spelled.ends_with("_k")) spelled.back() = 'K';
  return reinterpret_cast<RowDecoder>(symbol("dequantize_row_" + spelled));
}

}  // namespace peers
