// Lists what a GGUF file holds: a few keys of its metadata, then every tensor. Opening maps the file;
// no weight is read.
#include <quantlinear/gguf.hpp>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  namespace ql = quantlinear;
  if (argc != 2) {
    std::fprintf(stderr, "usage: 01_list_tensors MODEL.gguf\n");
    return 2;
  }
  const auto file = ql::GgufFile::open(argv[1]);
  if (!file) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());  // names the field, byte offset, found and expected
    return 1;
  }

  const ql::GgufMetadata metadata = file->metadata();
  if (const auto architecture = metadata.get<std::string>("general.architecture")) {
    std::printf("architecture %s, ", architecture->c_str());
  }
  std::printf("%zu metadata keys, %zu tensors\n", metadata.size(), file->tensors().size());

  for (const ql::GgufTensorInfo& tensor : file->tensors()) {
    std::string shape;  // GGUF order: the fastest dimension, the columns, first
    for (const std::uint64_t dim : tensor.dims) shape += (shape.empty() ? "" : " x ") + std::to_string(dim);
    std::printf("%-36s %-8s %-20s %12llu bytes\n", tensor.name.c_str(), tensor.type_name().c_str(), shape.c_str(),
                static_cast<unsigned long long>(tensor.bytes));
  }
  return 0;
}
