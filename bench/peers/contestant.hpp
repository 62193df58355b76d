// What a worker process offers: one library in one mode, multiplying by quantised weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace peers {

struct WeightType {
  std::uint32_t id = 0;  ///< GGUF tensor type id
  std::string name;      ///< lower case, "q4_k"
};

struct BlockShape {
  std::size_t elements = 0;
  std::size_t bytes = 0;
};

/// All members throw std::runtime_error for what the library cannot do.
class Contestant {
 public:
  Contestant() = default;
  Contestant(const Contestant&) = delete;
  Contestant& operator=(const Contestant&) = delete;
  virtual ~Contestant() = default;

  virtual BlockShape block(const WeightType& type) = 0;
  virtual void quantize(const WeightType& type, std::size_t rows, std::size_t k, const float* values,
                        std::byte* blocks) = 0;
  virtual void dequantize(const WeightType& type, std::size_t rows, std::size_t k, const std::byte* blocks,
                          float* values) = 0;
  /// Takes `copies` copies of the n x k matrix into the library's own memory, in the mode's layout.
  virtual void load(const WeightType& type, std::size_t n, std::size_t k, std::size_t copies,
                    const std::byte* blocks) = 0;
  /// Makes pass() multiply these m rows of activations, on `threads` threads.
  virtual void prepare(std::size_t m, std::size_t threads, const float* activations) = 0;
  /// One product with each copy in turn, the preparation of the activations included every time.
  virtual void pass() = 0;
  /// The m x n results of the last product.
  virtual void result(float* outputs) = 0;
  /// Frees the weights.
  virtual void unload() = 0;
};

/// Answers the parent's requests until it says quit or goes away. Descriptors 3 and 4 are the
/// pipes, `arena` is the number of the shared memory's descriptor. Returns the exit status.
int serve(Contestant& contestant, int arena, const char* cpus);

}  // namespace peers
