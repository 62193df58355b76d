// Bad inputs that are the bytes of one file: how each is made, and what the reader must say. The
// numbers are those of the project's catalogue of 203 bad inputs; from 1001 on they are additions.
// Of the catalogue, 154 (every prefix) and 172-188 (paths, huge and changing files) are tests of
// their own in gguf_hostile_test.cpp, 161-171 (split sets) are in gguf_split_test.cpp, and 189-203
// concern block contents and layers, not the reader.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <vector>

#include "gguf_raw.hpp"

namespace gguf_test {

using quantlinear::ErrorCode;

struct Case {
  int number;
  const char* what;
  std::function<void(Raw&)> make;  ///< calls here() where the error is expected, if the place is certain
  std::optional<ErrorCode> refused;
  const char* fragment;  ///< that the message must contain
};

inline void PrintTo(const Case& input, std::ostream* out) { *out << input.what; }

/// What a transfer in text mode makes of a file: LF becomes CR LF.
inline std::string with_carriage_returns(std::string_view bytes) {
  std::string changed;
  for (const char c : bytes) {
    if (c == '\n') changed += '\r';
    changed += c;
  }
  return changed;
}

/// What an editor makes of a file: whatever is not ASCII becomes U+FFFD.
inline std::string as_if_latin_text(std::string_view bytes) {
  std::string changed;
  for (const char c : bytes) {
    if (static_cast<unsigned char>(c) < 128) {
      changed += c;
    } else {
      changed.append("\xEF\xBF\xBD");
    }
  }
  return changed;
}

inline std::vector<Case> hostile_cases() {
  using R = Raw&;
  constexpr auto bad = ErrorCode::malformed_file;
  constexpr auto unsupported = ErrorCode::unsupported;
  constexpr std::optional<ErrorCode> accepted;

  // A good file around the field under test: one key, one tensor of 32 F32, its data.
  const auto good = [](R f) -> R { return f.head(1, 1).key("a", U8).raw("x").tensor("w", {32}, 0, 0).data(128); };
  const auto one_tensor = [](R f) -> R { return f.head(1, 0); };
  const auto one_key = [](R f) -> R { return f.head(0, 1); };
  const auto alignment = [](R f, std::uint64_t type = U32) -> R {
    return f.head(0, 1).key("general.alignment", type).here();
  };
  // A tensor whose dims[at] is refused.
  const auto dims = [=](R f, const std::vector<std::uint64_t>& d, std::size_t at, std::uint64_t type) -> R {
    one_tensor(f).tensor("w", d, type, 0).data(256);
    f.mark = 24 + 8 + 1 + 4 + 8 * at;
    f.marked = true;
    return f;
  };
  // A tensor whose offset field is refused.
  const auto place = [=](R f, const std::vector<std::uint64_t>& d, std::uint64_t type, std::uint64_t offset,
                         std::size_t data) -> R {
    return one_tensor(f).shape("w", d).u32(type).here().u64(offset).data(data);
  };

  // clang-format off
  std::vector<Case> cases = {
      // ---- beginnings ----
      {1, "0 bytes", [](R f) { f.here(); }, bad, "magic at byte 0: found an empty file, needs 24 bytes"},
      {2, "1 byte", [](R f) { f.here().raw("G"); }, bad, "found 1 bytes, needs 24 bytes"},
      {3, "3 bytes", [](R f) { f.here().raw("GGU"); }, bad, "found 3 bytes, needs 24 bytes"},
      {4, "magic alone", [](R f) { f.here().raw("GGUF"); }, bad, "found 4 bytes, needs 24 bytes"},
      {5, "8 bytes", [](R f) { f.here().start(); }, bad, "found 8 bytes, needs 24 bytes"},
      {6, "23 bytes", [](R f) { f.here().start().zeros(15); }, bad, "header at byte 0: found 23 bytes, needs 24 bytes"},
      {7, "FUGG", [](R f) { f.here().raw("FUGG").zeros(40); }, bad, "byte-swapped"},
      {8, "GGML", [](R f) { f.here().raw("lmgg").zeros(40); }, bad, "GGML format"},
      {9, "GGJT", [](R f) { f.here().raw("tjgg").zeros(40); }, bad, "GGJT format"},
      {10, "lower case", [](R f) { f.here().raw("gguf").zeros(40); }, bad, "lower case"},
      {11, "zeros", [](R f) { f.here().zeros(40); }, bad, "found \"\\x00\\x00\\x00\\x00\", expected \"GGUF\", this looks like zeros"},
      {12, "HTML", [](R f) { f.here().raw("\n<!DOCTYPE html><html><title>404"); }, bad, "web page"},
      {13, "LFS", [](R f) { f.here().raw("version https://git-lfs.github.com/spec/v1\n"); }, bad, "Git LFS pointer"},
      {14, "zip", [](R f) { f.here().raw("PK\x03\x04").zeros(40); }, bad, "ZIP"},
      {15, "gzip", [](R f) { f.here().raw("\x1F\x8B\x08").zeros(40); }, bad, "gzip"},
      {16, "safetensors", [](R f) { f.here().u64(64).raw("{\"__metadata__\":{}}").zeros(40); }, bad, "safetensors"},
      {17, "version 0", [](R f) { f.raw("GGUF").here().u32(0).zeros(16); }, bad, "version at byte 4: found 0, expected 2 or 3"},
      {18, "version 4", [](R f) { f.raw("GGUF").here().u32(4).zeros(16); }, unsupported, "found 4, expected 2 or 3"},
      {19, "big-endian", [](R f) { f.raw("GGUF").here().u32(0x03000000).zeros(16); }, unsupported, "big-endian"},
      {20, "version 2^32-1", [](R f) { f.raw("GGUF").here().u32(max64).zeros(16); }, unsupported, "found 4294967295"},
      {21, "version 2, 32-bit counts", [](R f) { f.start(2).here().u32(1).u32(1).u32(1).raw("a").u32(U8).raw("x").zeros(40); },
       bad, "n_tensors at byte 8: found 4294967297"},
      {1001, "version 1", [](R f) { f.raw("GGUF").here().u32(1).u32(1).u32(1).zeros(40); }, unsupported, "found 1, the format of August 2023"},
      {1002, "version 2", [](R f) { f.start(2).u64(1).u64(0).tensor("w", {32}, 0, 0).data(128); }, accepted, ""},
      // ---- counts ----
      {22, "n_tensors 2^64-1", [](R f) { f.start().here().u64(max64).u64(0).zeros(64); }, bad, "n_tensors at byte 8: found 18446744073709551615"},
      {23, "n_tensors 2^63", [](R f) { f.start().here().u64(pow2(63)).u64(0).zeros(64); }, bad, "n_tensors"},
      {24, "n_tensors 2^32", [](R f) { f.start().here().u64(pow2(32)).u64(0).zeros(64); }, bad, "n_tensors"},
      {25, "n_tensors 65536", [](R f) { f.start().here().u64(65536).u64(0).zeros(64); }, bad, "only 72 bytes are left"},
      {26, "n_tensors one too many", [](R f) { f.head(2, 0).tensor("w", {32}, 0, 0).here().data(128); }, bad, "tensor name length (1)"},
      {27, "n_kv 2^64-1", [](R f) { f.start().u64(0).here().u64(max64).zeros(64); }, bad, "n_kv at byte 16"},
      {28, "n_kv 2^63", [](R f) { f.start().u64(0).here().u64(pow2(63)).zeros(64); }, bad, "n_kv"},
      {29, "n_kv 2^32", [](R f) { f.start().u64(0).here().u64(pow2(32)).zeros(64); }, bad, "n_kv"},
      {30, "n_kv 65536", [](R f) { f.start().u64(0).here().u64(65536).zeros(64); }, bad, "only 64 bytes are left"},
      {31, "n_kv one too many", [](R f) { f.head(1, 2).key("a", U8).raw("x").tensor("w", {32}, 0, 0).data(128); }, bad, ""},
      // ---- keys ----
      {32, "key length 2^64-1", [=](R f) { one_key(f).here().u64(max64).zeros(64); }, bad, "key length (0) at byte 24: found 18446744073709551615, only 64 bytes are left"},
      {33, "key length 2^63", [=](R f) { one_key(f).here().u64(pow2(63)).zeros(64); }, bad, "key length (0)"},
      {34, "key length 2^30", [=](R f) { one_key(f).here().u64(pow2(30)).zeros(64); }, bad, "key length (0)"},
      {35, "key length 2^32+20", [=](R f) { one_key(f).here().u64(pow2(32) + 20).zeros(64); }, bad, "key length (0)"},
      {36, "key length left+1", [=](R f) { one_key(f).here().u64(65).zeros(64); }, bad, "found 65, only 64"},
      {37, "key empty", [=](R f) { one_key(f).here().key("", U8).zeros(64); }, bad, "found 0, a key must not be empty"},
      {38, "key twice", [](R f) { f.head(0, 2).key("k.one", U8).raw("x").here().key("k.one", U8).raw("x"); }, bad, "key (1, k.one) at byte 42: found a second time, first as key 0 at byte 24"},
      {39, "key twice, other type", [](R f) { f.head(0, 2).key("k", U8).raw("x").here().key("k", U32).u32(1); }, bad, "second time"},
      {40, "alignment twice", [](R f) { f.head(0, 2).key("general.alignment", U32).u32(32).here().key("general.alignment", U32).u32(64); }, bad, "general.alignment"},
      {1003, "key of 65536 bytes", [=](R f) { one_key(f).here().key(std::string(65536, 'k'), U8).raw("x"); }, bad, "expected at most 65535"},
      {1004, "key of 65535 bytes", [=](R f) { one_key(f).key(std::string(65535, 'k'), U8).raw("x"); }, accepted, ""},
      {41, "value type 13", [=](R f) { one_key(f).text("k").here().u32(13).zeros(64); }, bad, "value type (0, k) at byte 33: found 13, no value type, expected 0 to 12"},
      {42, "value type 255", [=](R f) { one_key(f).text("k").here().u32(255).zeros(64); }, bad, "found 255"},
      {43, "value type 264", [=](R f) { one_key(f).text("k").here().u32(264).zeros(64); }, bad, "found 264"},
      {44, "value type 2^31", [=](R f) { one_key(f).text("k").here().u32(pow2(31)).zeros(64); }, bad, "found 2147483648"},
      {45, "value type 2^32-1", [=](R f) { one_key(f).text("k").here().u32(max64).zeros(64); }, bad, "found 4294967295"},
      {1005, "bool 2", [=](R f) { one_key(f).key("k", BOOL).here().raw("\x02").zeros(64); }, bad, "value (0, k) at byte 37: found 2, a bool is 0 or 1"},
      {1006, "number cut", [=](R f) { one_key(f).key("k", F64).here().zeros(7); }, bad, "found 7 bytes up to the end of the file, needs 8"},
      // ---- strings and arrays ----
      {46, "string length 2^64-1", [=](R f) { one_key(f).key("k", STRING).here().u64(max64).zeros(64); }, bad, "string length (0, k) at byte 37"},
      {47, "string length 2^63-1", [=](R f) { one_key(f).key("k", STRING).here().u64(pow2(63) - 1).zeros(64); }, bad, "string length (0, k)"},
      {48, "string length 2^32+4", [=](R f) { one_key(f).key("k", STRING).here().u64(pow2(32) + 4).zeros(64); }, bad, "string length (0, k)"},
      {49, "string length left+1", [=](R f) { one_key(f).key("k", STRING).here().u64(65).zeros(64); }, bad, "found 65, only 64"},
      {50, "string cut", [=](R f) { one_key(f).key("k", STRING).here().u64(10).raw("hello"); }, bad, "found 10, only 5"},
      {51, "array element type 13", [=](R f) { one_key(f).key("k", ARRAY).here().u32(13).u64(1).zeros(64); }, bad, "array element type (0, k) at byte 37: found 13"},
      {52, "u8 count 2^64-1", [=](R f) { one_key(f).array("k", U8).here().u64(max64).zeros(64); }, bad, "array count (0, k) at byte 41: found 18446744073709551615, they take at least 1 bytes each"},
      {53, "u16 count 2^63", [=](R f) { one_key(f).array("k", U16).here().u64(pow2(63)).zeros(64); }, bad, "array count"},
      {54, "u32 count 2^62", [=](R f) { one_key(f).array("k", U32).here().u64(pow2(62)).zeros(64); }, bad, "array count"},
      {55, "u64 count 2^61", [=](R f) { one_key(f).array("k", U64).here().u64(pow2(61)).zeros(64); }, bad, "array count"},
      {56, "u64 count 2^61+1", [=](R f) { one_key(f).array("k", U64).here().u64(pow2(61) + 1).zeros(64); }, bad, "array count"},
      {57, "2^60 strings", [=](R f) { one_key(f).array("k", STRING).here().u64(pow2(60)).zeros(64); }, bad, "array count"},
      {58, "strings one too many", [=](R f) { one_key(f).array("k", STRING).u64(3).text("hello").text("world, ").here(); }, bad, "array string length (0, k)"},
      {59, "inner length too long", [=](R f) { one_key(f).array("k", STRING).u64(2).text("a").here().u64(100).zeros(9); }, bad, "found 100, only 9"},
      {60, "2^63 arrays", [=](R f) { one_key(f).array("k", ARRAY).here().u64(pow2(63)).zeros(64); }, bad, "array count"},
      {61, "nested with type 99", [=](R f) { one_key(f).array("k", ARRAY).u64(1).here().u32(99).u64(1).zeros(64); }, bad, "array element type (0, k)"},
      {62, "nested 20000 deep", [=](R f) { one_key(f).key("k", ARRAY).u32(ARRAY).u64(1).u32(ARRAY).u64(1).u32(ARRAY).u64(1).here();
         for (int i = 0; i < 20000; ++i) f.u32(ARRAY).u64(1); }, unsupported, "nested deeper than 4 levels"},
      {1007, "nested 4 deep", [=](R f) { one_key(f).array("k", ARRAY).u64(1).u32(ARRAY).u64(1).u32(ARRAY).u64(1).u32(U8).u64(2).raw("xy"); }, accepted, ""},
      {1008, "bool array with 7", [=](R f) { one_key(f).array("k", BOOL).u64(3).raw("\x01").here().raw("\x07\x01"); }, bad, "array elements (0, k)"},
      {1009, "empty arrays of all types", [](R f) { f.head(0, 13); for (std::uint32_t t = 0; t < 13; ++t) f.array(std::string(t + 1, 'k'), t).u64(0); }, accepted, ""},
      // ---- alignment ----
      {63, "alignment 0", [=](R f) { alignment(f).u32(0); }, bad, "found 0, expected a power of two up to 1048576"},
      {64, "alignment 3", [=](R f) { alignment(f).u32(3); }, bad, "value (0, general.alignment) at byte 53: found 3"},
      {65, "alignment 12", [=](R f) { alignment(f).u32(12); }, bad, "found 12"},
      {66, "alignment 13", [=](R f) { alignment(f).u32(13); }, bad, "found 13"},
      {67, "alignment 33", [=](R f) { alignment(f).u32(33); }, bad, "found 33"},
      {68, "alignment 2^20, small file", [](R f) { f.head(1, 1).key("general.alignment", U32).u32(pow2(20)).shape("w", {32}).u32(0).here().u64(0).data(128); }, bad, "from byte 1048576"},
      {69, "alignment 2^31", [=](R f) { alignment(f).u32(pow2(31)); }, bad, "found 2147483648"},
      {70, "alignment 2^32-1", [=](R f) { alignment(f).u32(max64); }, bad, "found 4294967295"},
      {71, "alignment as i32", [=](R f) { alignment(f, I32).u32(32); }, bad, "found i32, the alignment must be u32"},
      {72, "alignment as u64", [=](R f) { alignment(f, U64).u64(32); }, bad, "found u64"},
      {73, "alignment as u16", [=](R f) { alignment(f, U16).raw({"\x20\0", 2}); }, bad, "found u16"},
      {74, "alignment as f32", [=](R f) { alignment(f, F32).put(32.0f); }, bad, "found f32"},
      {75, "alignment as string", [=](R f) { alignment(f, STRING).text("32"); }, bad, "found string"},
      {76, "alignment as bool", [=](R f) { alignment(f, BOOL).raw("\x01"); }, bad, "found bool"},
      {77, "alignment as array", [=](R f) { alignment(f, ARRAY).u32(U32).u64(1).u32(32); }, bad, "found array"},
      {78, "alignment 64, data at 32", [](R f) { f.head(2, 1).key("general.alignment", U32).u32(64).tensor("v", {8}, 0, 0).shape("w", {8}).u32(0).here().u64(32).data(64, 64); }, bad, "found 32, expected a multiple of the alignment 64"},
      {79, "general.alignment NUL x", [](R f) { f.head(1, 1).key({"general.alignment\0x", 19}, U32).u32(0).tensor("w", {32}, 0, 0).data(128); }, accepted, ""},
      {1010, "alignment 1", [](R f) { f.head(1, 1).key("general.alignment", U32).u32(1).tensor("w", {32}, 0, 3).data(3 + 128, 1); }, accepted, ""},
      // ---- names ----
      {80, "name length 2^64-1", [=](R f) { one_tensor(f).here().u64(max64).zeros(64); }, bad, "tensor name length (0) at byte 24"},
      {81, "name length 2^32+7", [=](R f) { one_tensor(f).here().u64(pow2(32) + 7).zeros(64); }, bad, "tensor name length (0)"},
      {82, "name of 70000 bytes", [=](R f) { one_tensor(f).here().tensor(std::string(70000, 'w'), {32}, 0, 0).data(128); }, bad, "found 70000, expected at most 65535"},
      {83, "name twice", [](R f) { f.head(2, 0).tensor("w", {32}, 0, 0).here().tensor("w", {32}, 0, 128).data(256); }, bad, "tensor name (1, w) at byte 57: found a second time, first as tensor 0"},
      {84, "name twice, other type", [](R f) { f.head(2, 0).tensor("w", {32}, 0, 0).here().tensor("w", {32}, 1, 128).data(192); }, bad, "second time"},
      {85, "names equal up to NUL", [](R f) { f.head(2, 0).tensor({"w\0a", 3}, {32}, 0, 0).tensor({"w\0b", 3}, {32}, 0, 128).data(256); }, accepted, ""},
      {1011, "name empty", [=](R f) { one_tensor(f).here().tensor("", {32}, 0, 0).data(128); }, bad, "a name must not be empty"},
      // ---- types and rows (93-115 follow) ----
      {128, "Q8_0 [33]", [=](R f) { dims(f, {33}, 0, 8); }, bad, "dims[0] (0, w) at byte 37: found 33, a row of Q8_0 must be whole blocks of 32 elements"},
      {129, "Q8_0 [1]", [=](R f) { dims(f, {1}, 0, 8); }, bad, "whole blocks"},
      {130, "Q4_0 [16,2]", [=](R f) { dims(f, {16, 2}, 0, 2); }, bad, "whole blocks"},
      {131, "Q4_K [255]", [=](R f) { dims(f, {255}, 0, 12); }, bad, "whole blocks of 256"},
      {132, "Q4_K [128,2]", [=](R f) { dims(f, {128, 2}, 0, 12); }, bad, "whole blocks of 256"},
      {133, "Q6_K [257]", [=](R f) { dims(f, {257}, 0, 14); }, bad, "whole blocks of 256"},
      {134, "Q6_K [32,8]", [=](R f) { dims(f, {32, 8}, 0, 14); }, bad, "whole blocks of 256"},
      {1012, "Q8_0 scalar", [=](R f) { one_tensor(f).shape("w", {}).here().u32(8).u64(0).data(128); }, bad, "whole blocks"},
      {1013, "F32 scalar", [=](R f) { one_tensor(f).tensor("w", {}, 0, 0).data(4); }, accepted, ""},
      // ---- sizes ----
      {93, "dim -1", [=](R f) { dims(f, {max64}, 0, 0); }, bad, "dims[0] (0, w) at byte 37: found 18446744073709551615"},
      {94, "dim -2^63", [=](R f) { dims(f, {32, pow2(63)}, 1, 0); }, bad, "dims[1]"},
      {95, "dim 2^63-1", [=](R f) { dims(f, {pow2(63) - 1}, 0, 0); }, bad, "more than 2^64-1 bytes"},
      {96, "2^32 x 2^32", [=](R f) { dims(f, {pow2(32), pow2(32)}, 1, 0); }, bad, "more than 2^64-1 bytes"},
      {97, "(2^63-1) x 2 as I8", [=](R f) { place(f, {pow2(63) - 1, 2}, 24, 0, 64); }, bad, "found 0 for 18446744073709551614 bytes of data, the file has 64 bytes"},
      {98, "2^22 cubed", [=](R f) { dims(f, {pow2(22), pow2(22), pow2(22)}, 2, 0); }, bad, "dims[2]"},
      {99, "2^16 four times", [=](R f) { dims(f, {pow2(16), pow2(16), pow2(16), pow2(16)}, 3, 0); }, bad, "dims[3]"},
      {100, "three 2^16 and 2^16+1", [=](R f) { dims(f, {pow2(16), pow2(16), pow2(16), pow2(16) + 1}, 3, 24); }, bad, "dims[3]"},
      {101, "2^62 F32", [=](R f) { dims(f, {pow2(62)}, 0, 0); }, bad, "dims[0]"},
      {102, "2^61 F64", [=](R f) { dims(f, {pow2(61)}, 0, 28); }, bad, "dims[0]"},
      {103, "2^62-1 F32", [=](R f) { place(f, {pow2(62) - 1}, 0, 0, 64); }, bad, "found 0 for 18446744073709551612 bytes"},
      {104, "Q8_0 [1152, 2^42+1]", [=](R f) { place(f, {1152, pow2(42) + 1}, 8, 0, 64); }, bad, "bytes of data, the file has 64"},
      {105, "Q4_K [256, 2^60]", [=](R f) { dims(f, {256, pow2(60)}, 1, 12); }, bad, "dims[1]"},
      {106, "Q6_K wraps below 210", [=](R f) { dims(f, {256, 87841638446235961}, 1, 14); }, bad, "dims[1]"},
      {107, "2^32+4 I8", [=](R f) { place(f, {pow2(32) + 4}, 24, 0, 64); }, bad, "found 0 for 4294967300 bytes"},
      {108, "2^31 I8", [=](R f) { place(f, {pow2(31)}, 24, 0, 64); }, bad, "found 0 for 2147483648 bytes"},
      {109, "4 EiB", [=](R f) { place(f, {pow2(60)}, 0, 0, 64); }, bad, "found 0 for 4611686018427387904 bytes"},
      {110, "two of 2^63-64", [](R f) { f.head(2, 0).shape("v", {pow2(63) - 64}).u32(24).here().u64(0).tensor("w", {pow2(63) - 64}, 24, pow2(63) - 64).data(64); }, bad, "tensor offset (0, v)"},
      {111, "pad wraps, then a real tensor", [](R f) { f.head(2, 0).shape("v", {pow2(62) - 1}).u32(0).here().u64(0).tensor("w", {8}, 0, 0).data(64); }, bad, "tensor offset (0, v)"},
      {112, "[32,0]", [=](R f) { one_tensor(f).tensor("w", {32, 0}, 0, 0).data(0); }, accepted, ""},
      {113, "[0]", [=](R f) { one_tensor(f).tensor("w", {0}, 0, 0).data(0); }, accepted, ""},
      {114, "[2^62,0]", [=](R f) { dims(f, {pow2(62), 0}, 0, 0); }, bad, "a row of more than 2^64-1 bytes"},
      {115, "Q8_0 [0,4]", [=](R f) { one_tensor(f).tensor("w", {0, 4}, 8, 0).data(0); }, accepted, ""},
      {1014, "[0, 2^62, 2^62]", [=](R f) { dims(f, {0, pow2(62), pow2(62)}, 2, 0); }, bad, "more than 2^64-1 rows"},
      {1015, "[32, 2^62, 2^62, 0]", [=](R f) { one_tensor(f).tensor("w", {32, pow2(62), pow2(62), 0}, 0, 0).data(0); }, accepted, ""},
      {1016, "empty, no padding", [=](R f) { one_tensor(f).tensor("w", {0}, 0, 0); }, accepted, ""},
      {1017, "empty, offset far away", [=](R f) { place(f, {0}, 0, pow2(40), 64); }, bad, "tensor offset (0, w)"},
      // ---- places ----
      {135, "offset 1", [=](R f) { place(f, {32}, 0, 1, 160); }, bad, "found 1, expected a multiple of the alignment 32"},
      {136, "offset 8", [=](R f) { place(f, {32}, 0, 8, 160); }, bad, "found 8, expected a multiple"},
      {137, "offset 16", [=](R f) { place(f, {32}, 0, 16, 160); }, bad, "found 16, expected a multiple"},
      {138, "offset at the end", [=](R f) { place(f, {32}, 0, 128, 128); }, bad, "found 128 for 128 bytes of data, the file has 128 bytes of data from byte 64"},
      {139, "offset 2^20", [=](R f) { place(f, {32}, 0, pow2(20), 128); }, bad, "found 1048576"},
      {140, "offset 2^32", [=](R f) { place(f, {32}, 0, pow2(32), 128); }, bad, "found 4294967296"},
      {141, "offset 2^32+96", [=](R f) { place(f, {8}, 0, pow2(32) + 96, 128); }, bad, "found 4294967392"},
      {142, "offset 2^63-32", [=](R f) { place(f, {32}, 0, pow2(63) - 32, 128); }, bad, "found 9223372036854775776"},
      {143, "offset 2^63", [=](R f) { place(f, {32}, 0, pow2(63), 128); }, bad, "found 9223372036854775808"},
      {144, "offset 2^64-32", [=](R f) { place(f, {32}, 0, max64 - 31, 128); }, bad, "found 18446744073709551584"},
      {145, "offset to the header", [=](R f) { place(f, {8}, 0, max64 - 63, 128); }, bad, "found 18446744073709551552"},
      {146, "partial overlap", [](R f) { f.head(2, 0).tensor("v", {32}, 0, 0).shape("w", {32}).u32(0).here().u64(96).data(224); }, bad, "tensor offset (1, w) at byte 82: found 96, overlaps the 128 bytes of tensor 0, v, at 0"},
      {147, "contained", [](R f) { f.head(2, 0).tensor("v", {32}, 0, 0).shape("w", {8}).u32(0).here().u64(32).data(128); }, bad, "overlaps the 128 bytes of tensor 0, v"},
      {1018, "contained at the same offset", [](R f) { f.head(2, 0).shape("v", {32}).u32(0).here().u64(0).tensor("w", {8}, 0, 0).data(128); }, bad, "overlaps the 32 bytes of tensor 1, w"},
      {1019, "overlap after sharing", [](R f) { f.head(3, 0).tensor("u", {32}, 0, 0).tensor("v", {32}, 0, 0).shape("w", {8}).u32(0).here().u64(96).data(128); }, bad, "overlaps"},
      {1020, "exact sharing", [](R f) { f.head(2, 0).tensor("v", {32}, 0, 0).tensor("w", {16, 2}, 0, 0).data(128); }, accepted, ""},
      {148, "reversed", [](R f) { f.head(2, 0).tensor("v", {32}, 0, 128).tensor("w", {32}, 0, 0).data(256); }, accepted, ""},
      {1021, "gap", [](R f) { f.head(2, 0).tensor("v", {32}, 0, 0).tensor("w", {32}, 0, 1024).data(1152); }, accepted, ""},
      {149, "no data", [=](R f) { place(f, {32}, 0, 0, 0); }, bad, "the file has 0 bytes of data"},
      {150, "one byte short", [=](R f) { place(f, {32}, 0, 0, 127); }, bad, "the file has 127 bytes of data"},
      {151, "one block short", [=](R f) { place(f, {64}, 8, 0, 34); }, bad, "found 0 for 68 bytes of data, the file has 34"},
      {152, "4 MiB claimed", [=](R f) { place(f, {pow2(20)}, 0, 0, 64); }, bad, "found 0 for 4194304 bytes of data, the file has 64"},
      {153, "one row more", [=](R f) { place(f, {32, 5}, 0, 0, 512); }, bad, "found 0 for 640 bytes"},
      {1022, "no padding at the end", [=](R f) { one_tensor(f).tensor("w", {9}, 0, 0).data(36); }, accepted, ""},
      // ---- whole files mangled ----
      {155, "CR LF", [](R f) { f.head(1, 1).key("ten chars.", U8).raw("x").tensor("w", {32}, 0, 0).data(128); f.bytes = with_carriage_returns(f.bytes); }, bad, ""},
      {156, "UTF-8", [=](R f) { f.head(1, 1).key("\xC3\xA9", U8).raw("x").tensor("w", {32}, 0, 0).data(128); f.bytes = as_if_latin_text(f.bytes); }, bad, ""},
      {157, "BOM first", [=](R f) { f.here().raw("\xEF\xBB\xBF").start().u64(0).u64(0); }, bad, "byte order mark"},
      {158, "64 KiB of zeros", [](R f) { f.here().zeros(65536); }, bad, "zeros"},
      {159, "64 KiB of 0xFF", [](R f) { f.here().raw(std::string(65536, '\xFF')); }, bad, "erased"},
      {160, "random after the header", [](R f) { f.head(3, 3); std::uint64_t x = 1;
         for (int i = 0; i < 8192; ++i) f.u64(x = x * 6364136223846793005u + 1442695040888963407u); }, bad, ""},
      {1023, "a good file", [=](R f) { good(f); }, accepted, ""},
      {1024, "nothing in it", [](R f) { f.head(0, 0); }, accepted, ""},
  };
  // clang-format on
  int number = 86;
  for (const std::uint64_t rank : {std::uint64_t{5}, std::uint64_t{8}, std::uint64_t{9}, std::uint64_t{64},
                                   std::uint64_t{255}, pow2(31), pow2(32) - 1}) {
    cases.push_back({number++, "n_dims", [=](R f) { one_tensor(f).text("w").here().u32(rank).zeros(200); }, bad,
                     "n_dims (0, w) at byte 33"});
  }
  number = 116;
  for (const std::uint64_t type :
       {std::uint64_t{4}, std::uint64_t{5}, std::uint64_t{31}, std::uint64_t{32}, std::uint64_t{33}, std::uint64_t{36},
        std::uint64_t{37}, std::uint64_t{38}, std::uint64_t{43}, std::uint64_t{256}, pow2(31), pow2(32) - 1}) {
    cases.push_back({number, "tensor type",
                     [=](R f) { one_tensor(f).shape("w", {256}).here().u32(type).u64(0).data(2048); }, unsupported,
                     number < 124 ? ", which GGUF has removed" : "not the id of a tensor type"});
    ++number;
  }
  return cases;
}

}  // namespace gguf_test
