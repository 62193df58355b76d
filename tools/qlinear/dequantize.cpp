// qlinear dequantize: a tensor as float32, in a file that NumPy reads.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "command.hpp"
#include "json.hpp"
#include "model.hpp"
#include "npy.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::GgufFile;
using quantlinear::GgufTensorInfo;
using quantlinear::QuantTypeInfo;
using quantlinear::Result;
using quantlinear::Status;

namespace {

struct DequantizeOptions {
  std::string file;
  std::string tensor;
  std::string output;
  bool json = false;
};

/// Decodes and writes slice by slice, so that memory stays small whatever the tensor's size.
Status write_slices(std::span<const std::byte> blocks, const QuantTypeInfo& type, NpyWriter& writer,
                    std::string_view name) {
  constexpr std::size_t slice_floats = std::size_t{1} << 20U;  // 4 MiB
  const std::size_t slice_blocks = std::max<std::size_t>(1, slice_floats / type.block_elements);
  const std::size_t all_blocks = blocks.size() / type.block_bytes;
  std::vector<float> values(std::min(all_blocks, slice_blocks) * type.block_elements);
  Progress bar("dequantize", all_blocks);
  for (std::size_t done = 0; done < all_blocks;) {
    const std::size_t count = std::min(slice_blocks, all_blocks - done);
    const std::span<float> out(values.data(), count * type.block_elements);
    const auto slice = blocks.subspan(done * type.block_bytes, count * type.block_bytes);
    if (auto s = quantlinear::dequantize(type.type, slice, out); !s) return s;
    if (auto s = writer.write(out); !s) return s;
    done += count;
    bar.update(done, name);
  }
  return {};
}

Result<Exit> run(const DequantizeOptions& options) {
  const auto file = GgufFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  const auto found = file->find(options.tensor);
  if (!found) return std::unexpected(found.error());
  const GgufTensorInfo& tensor = **found;
  const auto part = part_of(*file, tensor);  // any weight type; a vector is a matrix of one row
  if (!part) return std::unexpected(part.error());

  auto writer = NpyWriter::create(options.output, tensor.rows(), tensor.in_features());
  if (!writer) return std::unexpected(writer.error());
  const QuantTypeInfo& type = *quantlinear::quant_type_info(part->kind);
  if (auto s = write_slices(part->bytes.bytes(), type, *writer, tensor.name); !s) return std::unexpected(s.error());
  if (auto s = file->check_unchanged(); !s) return std::unexpected(s.error());
  if (auto s = writer->finish(); !s) return std::unexpected(s.error());

  if (options.json) {
    print_json({{"tensor", tensor.name},
                {"type", tensor.type_name()},
                {"output", options.output},
                {"rows", tensor.rows()},
                {"columns", tensor.in_features()},
                {"bytes", writer->file_bytes()}});
  } else if (writer->is_regular()) {
    fmt::print("{}: {} x {} float32 from {} ({}), {}\n", printable(options.output), tensor.rows(), tensor.in_features(),
               printable(tensor.name), tensor.type_name(), human_bytes(writer->file_bytes()));
  }
  return Exit::yes;
}

}  // namespace

const Command dequantize_command{
    "dequantize", "Write a tensor as a float32 .npy file, rows first", [](Options& options) -> Action {
      const auto values = std::make_shared<DequantizeOptions>();
      options.model(values->file);
      options.required("TENSOR", "Name of the tensor", values->tensor);
      options.required_option("-o,--output", "W.npy", "File to write: replaced only when complete", values->output);
      options.json(values->json);
      return [values] { return run(*values); };
    }};

}  // namespace qlinear
