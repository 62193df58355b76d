// qlinear info: what is in a file.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <type_traits>
#include <variant>

#include "command.hpp"
#include "json.hpp"
#include "model.hpp"
#include "options.hpp"
#include "table.hpp"
#include "text.hpp"

namespace qlinear {

using quantlinear::GgufArray;
using quantlinear::GgufEntry;
using quantlinear::GgufFile;
using quantlinear::GgufTensorInfo;
using quantlinear::GgufValue;
using quantlinear::GgufValueType;
using quantlinear::Result;

namespace {

struct InfoOptions {
  std::string file;
  bool json = false;
  bool all = false;
};

/// How much of an array and of a string is shown unless --all is given.
constexpr std::size_t kItemsShown = 6;
constexpr std::size_t kItemsInJson = 32;
constexpr std::size_t kStringShown = 72;
constexpr std::size_t kStringInArray = 20;

// ---- metadata as text ---------------------------------------------------------------------------

std::string array_text(const GgufArray& array, std::size_t most_items);

template <class T>
std::string scalar_text(const T& value, std::size_t most_bytes) {
  if constexpr (std::is_same_v<T, std::string>) {
    return quoted(value, most_bytes);
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    return array_text(value, kItemsShown);
  } else {
    return fmt::format("{}", value);
  }
}

std::string array_text(const GgufArray& array, std::size_t most_items) {
  std::string text = "[";
  std::visit(
      [&]<class T>(const std::vector<T>& items) {
        for (std::size_t i = 0; i < std::min(items.size(), most_items); ++i) {
          if (i > 0) text += ", ";
          text += scalar_text<T>(items[i], kStringInArray);
        }
        if (items.size() > most_items) text += fmt::format(", ... {} in all", grouped(items.size()));
      },
      array.items);
  return text + "]";
}

std::string value_text(const GgufValue& value, bool all) {
  const std::size_t most = all ? std::string::npos : kStringShown;
  return std::visit(
      [&]<class T>(const T& held) -> std::string {
        if constexpr (std::is_same_v<T, GgufArray>) return array_text(held, all ? std::string::npos : kItemsShown);
        return scalar_text(held, most);
      },
      value);
}

std::string type_text(const GgufEntry& entry) {
  if (entry.type != GgufValueType::array) return std::string(to_string(entry.type));
  return fmt::format("{}[{}]", to_string(entry.element_type), entry.count);
}

// ---- metadata as JSON ---------------------------------------------------------------------------

Json array_json(const GgufArray& array, std::size_t most_items);

template <class T>
Json scalar_json(const T& value, std::size_t most_items) {
  if constexpr (std::is_same_v<T, GgufArray>) {
    return array_json(value, most_items);
  } else {
    return value;
  }
}

Json array_json(const GgufArray& array, std::size_t most_items) {
  Json list = Json::array();
  std::visit(
      [&]<class T>(const std::vector<T>& items) {
        for (std::size_t i = 0; i < std::min(items.size(), most_items); ++i) {
          list.push_back(scalar_json<T>(items[i], most_items));
        }
      },
      array.items);
  return list;
}

Result<Json> metadata_json(const GgufFile& file, bool all) {
  const std::size_t most = all ? std::string::npos : kItemsInJson;
  Json list = Json::array();
  for (const GgufEntry entry : file.metadata()) {
    const auto value = entry.value();
    if (!value) return std::unexpected(value.error());
    Json item{{"key", entry.key}, {"type", to_string(entry.type)}};
    if (entry.type == GgufValueType::array) {
      item["element_type"] = to_string(entry.element_type);
      item["count"] = entry.count;
      item["shortened"] = entry.count > most;
    }
    item["value"] = std::visit([&]<class T>(const T& held) { return scalar_json<T>(held, most); }, *value);
    list.push_back(std::move(item));
  }
  return list;
}

// ---- tensors ------------------------------------------------------------------------------------

double bits_per_weight(std::uint64_t bytes, std::uint64_t weights) {
  return weights == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
}

struct TypeTotal {
  std::string type;
  std::uint64_t tensors = 0, weights = 0, bytes = 0;
};

/// In the order in which the types first appear in the file.
std::vector<TypeTotal> totals_by_type(const GgufFile& file) {
  std::vector<TypeTotal> totals;
  for (const GgufTensorInfo& tensor : file.tensors()) {
    const std::string type = tensor.type_name();
    auto total = std::ranges::find(totals, type, &TypeTotal::type);
    if (total == totals.end()) total = totals.insert(totals.end(), {type});
    total->tensors += 1;
    total->weights += weights_of(tensor);
    total->bytes += tensor.bytes;
  }
  return totals;
}

std::uint64_t weights_in(const GgufFile& file) {
  std::uint64_t weights = 0;
  for (const GgufTensorInfo& tensor : file.tensors()) weights += weights_of(tensor);
  return weights;
}

// ---- output -------------------------------------------------------------------------------------

Result<Exit> print_as_json(const GgufFile& file, const InfoOptions& options) {
  auto metadata = metadata_json(file, options.all);
  if (!metadata) return std::unexpected(metadata.error());
  Json parts = Json::array();
  for (const auto& part : file.parts()) parts.push_back(part.string());
  Json tensors = Json::array();
  for (const GgufTensorInfo& tensor : file.tensors()) {
    tensors.push_back({{"name", tensor.name},
                       {"type", tensor.type_name()},
                       {"shape", shape_json(tensor)},
                       {"bytes", tensor.bytes},
                       {"bits_per_weight", bits_per_weight(tensor.bytes, weights_of(tensor))},
                       {"part", tensor.part},
                       {"offset", tensor.offset}});
  }
  Json totals = Json::array();
  for (const TypeTotal& total : totals_by_type(file)) {
    totals.push_back({{"type", total.type},
                      {"tensors", total.tensors},
                      {"weights", total.weights},
                      {"bytes", total.bytes},
                      {"bits_per_weight", bits_per_weight(total.bytes, total.weights)}});
  }
  print_json({{"file", options.file},
              {"version", file.version()},
              {"alignment", file.alignment()},
              {"access", "map"},
              {"parts", std::move(parts)},
              {"total_bytes", file.total_bytes()},
              {"tensor_bytes", file.tensor_bytes()},
              {"metadata", std::move(*metadata)},
              {"tensors", std::move(tensors)},
              {"totals_by_type", std::move(totals)}});
  return Exit::yes;
}

void print_header(const GgufFile& file) {
  const auto parts = file.parts();
  for (const auto& part : parts) fmt::print("{}\n", styled(printable(part.string()), Style::strong));
  fmt::print("  format    GGUF version {}, little-endian, alignment {}\n", file.version(), file.alignment());
  fmt::print("  size      {} ({} bytes) in {}, mapped\n", human_bytes(file.total_bytes()), grouped(file.total_bytes()),
             counted(parts.size(), "file", "files"));
  fmt::print("  contents  {}, {} with {} weights in {}\n",
             counted(file.metadata().size(), "metadata key", "metadata keys"),
             counted(file.tensors().size(), "tensor", "tensors"), human_count(weights_in(file)),
             human_bytes(file.tensor_bytes()));
}

Result<Exit> print_as_tables(const GgufFile& file, const InfoOptions& options) {
  Table metadata({left("key"), left("type"), left("value")});
  for (const GgufEntry entry : file.metadata()) {
    const auto value = entry.value();
    if (!value) return std::unexpected(value.error());
    metadata.row({printable(entry.key), type_text(entry), value_text(*value, options.all)});
  }

  const bool split = file.parts().size() > 1;
  std::vector<Table::Column> columns{left("tensor"), left("type"), right("rows x columns"), right("bytes"),
                                     right("bits/weight")};
  if (split) columns.push_back(right("part"));
  Table tensors(std::move(columns));
  for (const GgufTensorInfo& tensor : file.tensors()) {
    tensors.row({printable(tensor.name), tensor.type_name(), shape_text(tensor), grouped(tensor.bytes),
                 fmt::format("{:.4g}", bits_per_weight(tensor.bytes, weights_of(tensor))),
                 split ? std::to_string(tensor.part + 1) : std::string()});
  }

  Table totals(
      {left("type"), right("tensors"), right("weights"), right("bytes"), right("share"), right("bits/weight")});
  for (const TypeTotal& total : totals_by_type(file)) {
    const double share =
        static_cast<double>(total.bytes) / static_cast<double>(std::max<std::uint64_t>(1, file.tensor_bytes()));
    totals.row({total.type, grouped(total.tensors), grouped(total.weights), grouped(total.bytes), percent(share),
                fmt::format("{:.4g}", bits_per_weight(total.bytes, total.weights))});
  }
  const std::uint64_t weights = weights_in(file);
  totals.row({Cell("all", Style::strong), grouped(file.tensors().size()), grouped(weights),
              grouped(file.tensor_bytes()), "", fmt::format("{:.4g}", bits_per_weight(file.tensor_bytes(), weights))});

  print_header(file);
  if (!metadata.empty()) {
    fmt::print("\n{}\n", styled("Metadata", Style::strong));
    metadata.print();
  }
  if (!tensors.empty()) {
    fmt::print("\n{}\n", styled("Tensors", Style::strong));
    tensors.print();
    fmt::print("\n{}\n", styled("Totals by type", Style::strong));
    totals.print();
  }
  return Exit::yes;
}

Result<Exit> run(const InfoOptions& options) {
  const auto file = GgufFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  return options.json ? print_as_json(*file, options) : print_as_tables(*file, options);
}

}  // namespace

const Command info_command{"info", "Print header, metadata and tensors of a GGUF file", [](Options& options) -> Action {
                             const auto values = std::make_shared<InfoOptions>();
                             options.model(values->file);
                             options.flag("--all", "Show long arrays and strings in full", values->all);
                             options.json(values->json);
                             return [values] { return run(*values); };
                           }};

}  // namespace qlinear
