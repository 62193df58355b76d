// Split sets: files NAME-%05d-of-%05d.gguf, numbered from 1, each a GGUF file of its own with the
// keys split.no (from 0), split.count and split.tensors.count (of the whole set). A set is one
// model; which part the user names does not matter.
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "gguf/message.hpp"
#include "gguf/part.hpp"

namespace quantlinear::gguf {
namespace {

struct SplitName {
  std::string stem;  ///< NAME
  std::uint32_t number = 0, count = 0;
};

std::string five_digits(std::uint32_t number) {
  std::string digits = std::to_string(number);
  return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
}

std::optional<std::uint32_t> read_five_digits(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// NAME-00002-of-00003.gguf taken apart; empty if the name is not of that form.
std::optional<SplitName> split_name(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  static constexpr std::string_view form = "-00002-of-00003.gguf";
  if (name.size() < form.size()) return std::nullopt;
  const std::string_view end = std::string_view(name).substr(name.size() - form.size());
  if (end[0] != '-' || end.substr(6, 4) != "-of-" || end.substr(15) != ".gguf") return std::nullopt;
  const auto number = read_five_digits(end.substr(1, 5)), count = read_five_digits(end.substr(10, 5));
  if (!number || !count) return std::nullopt;
  return SplitName{name.substr(0, name.size() - form.size()), *number, *count};
}

std::filesystem::path part_path(const std::filesystem::path& opened, const SplitName& name, std::uint32_t number) {
  return opened.parent_path() / (name.stem + "-" + five_digits(number) + "-of-" + five_digits(name.count) + ".gguf");
}

struct SplitKeys {
  std::uint32_t no = 0, count = 0;
  std::uint32_t tensors = 0;
};

// The value of a split key is wrong: `found` says what it is and what it should be.
std::unexpected<Error> refuse_key(const Part& part, std::string_view key, std::int64_t value, const std::string& why,
                                  ErrorCode code = ErrorCode::malformed_file) {
  const std::uint64_t at = part.layout.metadata.find(key)->byte_offset;
  std::string message = part.label;
  message.append(": value of ").append(key).append(" at byte ").append(std::to_string(at));
  message.append(": found ").append(std::to_string(value)).append(", ").append(why);
  return fail(code, std::move(message), at);
}

// A split key that has to be there, with the type it has to have.
template <class T>
Result<T> required(const Part& part, std::string_view key) {
  if (!part.layout.metadata.contains(key)) {
    return fail(ErrorCode::malformed_file, part.label + ": metadata key \"" + std::string(key) +
                                               "\" does not exist, each part of a split set needs it");
  }
  auto value = part.layout.metadata.get<T>(key);
  if (!value && value.error().code == ErrorCode::invalid_argument) value.error().code = ErrorCode::malformed_file;
  return value;
}

Result<SplitKeys> split_keys(const Part& part) {
  const auto no = required<std::uint16_t>(part, "split.no");
  if (!no) return std::unexpected(no.error());
  const auto count = required<std::uint16_t>(part, "split.count");
  if (!count) return std::unexpected(count.error());
  const auto tensors = required<std::int32_t>(part, "split.tensors.count");
  if (!tensors) return std::unexpected(tensors.error());
  if (*tensors < 0) return refuse_key(part, "split.tensors.count", *tensors, "expected at least 0");
  return SplitKeys{*no, *count, static_cast<std::uint32_t>(*tensors)};
}

// Part number `index` (from 0) of the set that `expected`, the keys of part `opened`, describes.
Status check_part(const Part& part, std::uint32_t index, const SplitKeys& expected, const Part& opened) {
  const auto keys = split_keys(part);
  if (!keys) return std::unexpected(keys.error());
  const std::string as_opened = " as in " + opened.label;
  if (keys->no != index) {
    return refuse_key(part, "split.no", keys->no, "expected " + std::to_string(index) + " by the name of the file");
  }
  if (keys->count != expected.count) {
    return refuse_key(part, "split.count", keys->count, "expected " + std::to_string(expected.count) + as_opened);
  }
  if (keys->tensors != expected.tensors) {
    return refuse_key(part, "split.tensors.count", keys->tensors,
                      "expected " + std::to_string(expected.tensors) + as_opened);
  }
  return {};
}

// All parts that are not there, in one message.
Status check_presence(const Part& opened, const SplitName& name) {
  std::string missing;
  std::uint32_t count = 0;
  for (std::uint32_t number = 1; number <= name.count; ++number) {
    std::error_code error;
    if (std::filesystem::exists(std::filesystem::symlink_status(part_path(opened.path, name, number), error))) continue;
    if (++count <= 8) missing += (count == 1 ? "" : ", ") + std::to_string(number);
  }
  if (count == 0) return {};
  if (count > 8) missing += " and " + std::to_string(count - 8) + " more";
  return fail(ErrorCode::io,
              opened.label + ": is part " + std::to_string(name.number) + " of a split set of " +
                  std::to_string(name.count) + ", missing beside it: part " + missing + " (" +
                  printable_path(part_path(opened.path.filename(), SplitName{name.stem, 0, name.count}, 0)) +
                  " with the number of the part)");
}

// The set's name, once the opened part agrees with its own.
Result<SplitName> check_name(const Part& opened, const SplitKeys& keys) {
  const auto name = split_name(opened.path);
  if (!name) {
    return refuse_key(opened, "split.count", keys.count,
                      "so this is part " + std::to_string(keys.no + 1) + " of a split set, but it is not named NAME-" +
                          five_digits(keys.no + 1) + "-of-" + five_digits(keys.count) +
                          ".gguf and the other parts cannot be found");
  }
  if (name->count != keys.count) {
    return refuse_key(opened, "split.count", keys.count,
                      "expected " + std::to_string(name->count) + " by the name of the file");
  }
  if (name->number == 0 || name->number > name->count) {
    return refuse_key(opened, "split.count", keys.count,
                      "but the name of the file says part " + five_digits(name->number));
  }
  if (keys.no != name->number - 1) {
    return refuse_key(opened, "split.no", keys.no,
                      "expected " + std::to_string(name->number - 1) + " by the name of the file");
  }
  return *name;
}

Result<std::vector<Part>> open_set(Part opened, const SplitName& name, const SplitKeys& keys, GgufAccess access) {
  if (auto present = check_presence(opened, name); !present) return std::unexpected(std::move(present).error());
  const std::filesystem::path path = opened.path;
  std::vector<Part> parts;
  std::uint64_t tensors = 0;
  for (std::uint32_t i = 0; i < name.count; ++i) {
    if (i == keys.no) {
      parts.push_back(std::move(opened));  // NOLINT(bugprone-use-after-move): for one i only
    } else {
      auto part = open_part(part_path(path, name, i + 1), access);
      if (!part) return std::unexpected(std::move(part).error());
      parts.push_back(std::move(*part));
    }
    tensors += parts.back().layout.tensors.size();
  }
  for (std::uint32_t i = 0; i < name.count; ++i) {
    if (auto agrees = check_part(parts[i], i, keys, parts[keys.no]); !agrees) {
      return std::unexpected(std::move(agrees).error());
    }
  }
  if (tensors != keys.tensors) {
    return refuse_key(parts.front(), "split.tensors.count", keys.tensors,
                      "the parts hold " + std::to_string(tensors) + " tensors");
  }
  return parts;
}

Result<std::vector<Part>> only(Part part) {
  std::vector<Part> parts;
  parts.push_back(std::move(part));
  return parts;
}

}  // namespace

Result<std::vector<Part>> complete_set(Part opened, GgufAccess access, bool reachable) {
  const auto name = reachable ? split_name(opened.path) : std::nullopt;
  const bool named_as_part = name && name->count > 1;
  if (!opened.layout.metadata.contains("split.count") && !named_as_part) return only(std::move(opened));
  const auto count = required<std::uint16_t>(opened, "split.count");
  if (!count) return std::unexpected(count.error());
  // Tools that merge a set leave the keys behind, with a count of 0 or 1.
  if (*count <= 1 && !named_as_part) return only(std::move(opened));
  const auto keys = split_keys(opened);
  if (!keys) return std::unexpected(keys.error());
  if (!reachable) {
    return refuse_key(
        opened, "split.count", keys->count,
        "so this is part " + std::to_string(keys->no + 1) + " of a split set, which can only be opened from files",
        ErrorCode::unsupported);
  }
  const auto set = check_name(opened, *keys);
  if (!set) return std::unexpected(set.error());
  return open_set(std::move(opened), *set, *keys, access);
}

}  // namespace quantlinear::gguf
