// The functions of a ggml library that a product needs, found at run time in an installed package.
// Only opaque pointers and scalars cross the boundary, so one set of prototypes fits every fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace peers {

struct Handle;  ///< any object of the library
using Object = Handle*;

struct GgmlInitParams {
  std::size_t mem_size;
  void* mem_buffer;
  bool no_alloc;
};

struct GgmlLibrary {
  /// Loads the libggml*.so files of `folder` into this process. Throws std::runtime_error.
  explicit GgmlLibrary(const std::string& folder);

  // ggml
  Object (*init)(GgmlInitParams) = nullptr;
  void (*free)(Object context) = nullptr;
  std::size_t (*tensor_overhead)() = nullptr;
  std::size_t (*graph_overhead_custom)(std::size_t size, bool grads) = nullptr;
  Object (*new_tensor_2d)(Object context, int type, std::int64_t ne0, std::int64_t ne1) = nullptr;
  Object (*mul_mat)(Object context, Object weights, Object activations) = nullptr;
  Object (*new_graph_custom)(Object context, std::size_t size, bool grads) = nullptr;
  void (*build_forward_expand)(Object graph, Object tensor) = nullptr;
  const char* (*type_name)(int type) = nullptr;
  std::int64_t (*blck_size)(int type) = nullptr;
  std::size_t (*type_size)(int type) = nullptr;
  bool (*quantize_requires_imatrix)(int type) = nullptr;
  std::size_t (*quantize_chunk)(int type, const float* source, void* target, std::int64_t start, std::int64_t rows,
                                std::int64_t row_length, const float* imatrix) = nullptr;
  // ggml-backend
  Object (*backend_cpu_init)() = nullptr;
  void (*backend_free)(Object backend) = nullptr;
  void (*backend_cpu_set_n_threads)(Object backend, int threads) = nullptr;
  int (*backend_graph_compute)(Object backend, Object graph) = nullptr;
  Object (*backend_cpu_buffer_type)() = nullptr;
  Object (*backend_buft_alloc_buffer)(Object buffer_type, std::size_t size) = nullptr;
  std::size_t (*backend_buft_get_alloc_size)(Object buffer_type, Object tensor) = nullptr;
  void (*backend_buffer_free)(Object buffer) = nullptr;
  void* (*backend_buffer_get_base)(Object buffer) = nullptr;
  void (*backend_tensor_alloc)(Object buffer, Object tensor, void* address) = nullptr;
  Object (*backend_alloc_ctx_tensors_from_buft)(Object context, Object buffer_type) = nullptr;
  void (*backend_tensor_set)(Object tensor, const void* data, std::size_t offset, std::size_t size) = nullptr;
  void (*backend_tensor_get)(Object tensor, void* data, std::size_t offset, std::size_t size) = nullptr;
  // Where the library keeps repacked weights in buffers of their own (null elsewhere)
  Object (*backend_cpu_reg)() = nullptr;
  Object (*backend_reg_dev_get)(Object registry, std::size_t index) = nullptr;
  void* (*backend_reg_get_proc_address)(Object registry, const char* name) = nullptr;
  bool (*backend_dev_supports_op)(Object device, Object operation) = nullptr;
  // Where the library repacks a tensor in place (null elsewhere)
  void (*repack_tensor)(Object tensor) = nullptr;
  int (*repacked_type)(Object tensor) = nullptr;

  using RowDecoder = void (*)(const void* blocks, float* values, std::int64_t count);
  /// The library's scalar decoder of a type, or null.
  [[nodiscard]] RowDecoder row_decoder(const std::string& type_name) const;
};

}  // namespace peers
