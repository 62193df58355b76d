#include "gguf/magic.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace quantlinear::gguf {
namespace {

constexpr std::uint64_t header_bytes = 24;  // magic, version, number of tensors, number of keys

struct Signature {
  std::string_view begins_with;
  std::string_view what;
};

using namespace std::string_view_literals;

constexpr Signature signatures[] = {
    {"FUGG"sv, "GGUF with the magic byte-swapped"},
    {"gguf"sv, "GGUF in lower case, changed by a text conversion"},
    {"lmgg"sv, "the old GGML format, from before GGUF"},
    {"fmgg"sv, "the old GGMF format, from before GGUF"},
    {"tjgg"sv, "the old GGJT format, from before GGUF"},
    {"algg"sv, "an old GGLA adapter, from before GGUF"},
    {"\xEF\xBB\xBF"
     "GGUF"sv,
     "GGUF behind a UTF-8 byte order mark, changed by a text conversion"},
    {"version https://git-lfs"sv, "a Git LFS pointer: the file itself was not downloaded"},
    {"PK\x03\x04"sv, "a ZIP archive or a PyTorch checkpoint"},
    {"\x1F\x8B"sv, "gzip, to be unpacked first"},
    {"\x28\xB5\x2F\xFD"sv, "Zstandard, to be unpacked first"},
    {"\xFD"
     "7zXZ\0"sv,
     "xz, to be unpacked first"},
    {"BZh"sv, "bzip2, to be unpacked first"},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7-Zip archive, to be unpacked first"},
    {"\x89HDF\r\n\x1A\n"sv, "HDF5"},
    {"\x93NUMPY"sv, "a NumPy array"},
    {"\x80\x02"sv, "a Python pickle"},
    {"\x80\x04"sv, "a Python pickle"},
    {"\x7F"
     "ELF"sv,
     "an ELF program"},
    {"MZ"sv, "a Windows program"},
    {"%PDF"sv, "a PDF document"},
    {"{"sv, "JSON text"},
    {"\0\0\0\0"sv, "zeros: a download that left a hole?"},
    {"\xFF\xFF\xFF\xFF"sv, "erased or filled storage"},
};

// Characters that may stand before the first tag of a web page.
std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return text;
}

bool begins_with_tag(std::string_view text) {
  static constexpr std::array<std::string_view, 4> tags{"<!doctype", "<html", "<head", "<?xml"};
  text = without_blanks(text);
  return std::ranges::any_of(tags, [&](std::string_view tag) {
    return text.size() >= tag.size() && std::ranges::equal(text.substr(0, tag.size()), tag, [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
           });
  });
}

// safetensors: a length below 100 MB in 8 bytes, then JSON.
bool begins_as_safetensors(std::string_view text) {
  return text.size() > 8 && text[8] == '{' && text[4] == 0 && text[5] == 0 && text[6] == 0 && text[7] == 0;
}

}  // namespace

std::string_view looks_like(std::string_view bytes) noexcept {
  if (begins_as_safetensors(bytes)) return "safetensors";
  if (begins_with_tag(bytes)) return "a web page (HTML or XML): an error page of the server?";
  for (const Signature& signature : signatures) {
    if (bytes.starts_with(signature.begins_with)) return signature.what;
  }
  return {};
}

std::uint32_t take_magic_and_version(Cursor& cursor) {
  const Field magic_field{"magic"};
  if (cursor.left() == 0) {
    cursor.refuse(ErrorCode::malformed_file, 0, magic_field, "found an empty file, needs 24 bytes");
    return 0;
  }
  const std::uint64_t shown = std::min<std::uint64_t>(cursor.left(), 64);
  if (!cursor.need(shown, magic_field)) return 0;
  const std::string_view start = cursor.characters({0, shown});
  if (!start.starts_with(
          std::string_view("GGUF").substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(shown, 4))))) {
    const std::string_view guess = looks_like(start);
    cursor.refuse(ErrorCode::malformed_file, 0, magic_field,
                  "found \"" + printable(start.substr(0, 4)) + "\", expected \"GGUF\"" +
                      (guess.empty() ? "" : ", this looks like ") + std::string(guess));
    return 0;
  }
  if (shown < header_bytes) {
    cursor.refuse(ErrorCode::malformed_file, 0, Field{"header"},
                  "found " + std::to_string(shown) + " bytes, needs 24 bytes");
    return 0;
  }
  cursor.skip(4, magic_field);

  const Field version_field{"version"};
  const auto version = cursor.take<std::uint32_t>(version_field);
  if (version == 2 || version == 3) return version;
  std::string found = "found " + std::to_string(version);
  ErrorCode code = ErrorCode::unsupported;
  if (version == 1) {
    found += ", the format of August 2023, expected 2 or 3";
  } else if (version != 0 && (version & 0xFFFF) == 0) {
    found += ", a big-endian file, expected little-endian version 2 or 3";
  } else {
    found += ", expected 2 or 3";
    if (version == 0) code = ErrorCode::malformed_file;
  }
  cursor.refuse(code, 4, version_field, found);
  return 0;
}

}  // namespace quantlinear::gguf
