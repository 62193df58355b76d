# Generates, from quant_types.def and isa/list.def, everything that depends on the lists of formats
# and instruction sets: formats/all.hpp, the dispatch table, and one source per (format, set).
# Generated files live in the build tree only and are rewritten only when they change.

set(QUANTLINEAR_TYPES_DEF ${CMAKE_CURRENT_SOURCE_DIR}/include/quantlinear/quant_types.def)
set(QUANTLINEAR_ISA_DEF ${CMAKE_CURRENT_SOURCE_DIR}/src/cpu/isa/list.def)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${QUANTLINEAR_TYPES_DEF} ${QUANTLINEAR_ISA_DEF})

string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" QUANTLINEAR_ARCH)
if(QUANTLINEAR_ARCH STREQUAL "amd64")
  set(QUANTLINEAR_ARCH x86_64)
elseif(QUANTLINEAR_ARCH STREQUAL "arm64")
  set(QUANTLINEAR_ARCH aarch64)
endif()

set(QUANTLINEAR_INSTRUCTION_SETS "" CACHE STRING "Build these instruction sets only, e.g. scalar;avx2 (default: all)")

include(CheckCXXCompilerFlag)

function(quantlinear_write path content)
  file(CONFIGURE OUTPUT ${path} CONTENT "${content}" @ONLY)
endfunction()

# A source with the flags of its instruction set. Kernels are always optimised: a debug build of them
# is of no use to anyone.
function(quantlinear_add_kernel_source target source flags content)
  quantlinear_write(${source} "${content}")
  target_sources(${target} PRIVATE ${source})
  # Slow kernels are useless, in debug builds too; with sanitizers, compiling them so would take a quarter of an hour.
  set(optimise -O3)
  if(QUANTLINEAR_SANITIZE)
    set(optimise -O1)
  endif()
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags};${optimise};-fno-exceptions")
endfunction()

function(quantlinear_add_kernels target)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/generated)

  # Formats: QL_QUANT_TYPE(name, file, id)
  file(STRINGS ${QUANTLINEAR_TYPES_DEF} lines REGEX "^QL_QUANT_TYPE")
  set(formats "")
  set(all_includes "// Generated from quant_types.def: every format.\n#pragma once\n")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "^QL_QUANT_TYPE\\(([A-Za-z0-9_]+), ([a-z0-9_]+), [0-9]+\\)" _ "${line}")
    list(APPEND formats "${CMAKE_MATCH_1}:${CMAKE_MATCH_2}")
    string(APPEND all_includes "#include \"formats/${CMAKE_MATCH_2}.hpp\"\n")
  endforeach()
  quantlinear_write(${generated}/formats/all.hpp "${all_includes}")

  # Instruction sets: QL_ISA(name, architecture, "flags", features)
  file(STRINGS ${QUANTLINEAR_ISA_DEF} lines REGEX "^QL_ISA")
  set(externs "")
  set(tables "")
  set(entries "")
  check_cxx_compiler_flag(-fno-tree-reassoc QUANTLINEAR_HAS_NO_TREE_REASSOC)
  check_cxx_compiler_flag(-falign-functions=64 QUANTLINEAR_HAS_ALIGN_FUNCTIONS)
  foreach(line IN LISTS lines)
    string(REGEX MATCH "^QL_ISA\\(([a-z0-9_]+), ([a-z0-9_]+), \"([^\"]*)\", ([a-z0-9_ |]+)\\)" _ "${line}")
    set(isa ${CMAKE_MATCH_1})
    set(arch ${CMAKE_MATCH_2})
    set(features "${CMAKE_MATCH_4}")
    separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_3}")
    if(NOT arch STREQUAL "any" AND NOT arch STREQUAL QUANTLINEAR_ARCH)
      continue()
    endif()
    if(QUANTLINEAR_INSTRUCTION_SETS AND NOT isa IN_LIST QUANTLINEAR_INSTRUCTION_SETS)
      continue()
    endif()
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      list(FILTER flags EXCLUDE REGEX "-Wno-maybe-uninitialized")  # only GCC knows it
    endif()
    if(QUANTLINEAR_HAS_NO_TREE_REASSOC)
      # GCC turns chains of vector additions into trees and spills the accumulators of GEMM tiles.
      list(APPEND flags -fno-tree-reassoc -fno-tree-slp-vectorize)
    endif()
    if(QUANTLINEAR_HAS_ALIGN_FUNCTIONS)
      # Else the speed of long straight code depends on where the linker puts it, up to twofold (docs/performance-log.md).
      list(APPEND flags -falign-functions=64)
    endif()
    string(APPEND externs "extern const PrepareRow prepare_row_${isa};\n")
    string(APPEND tables "const FormatKernels* const formats_${isa}[] = {\n")
    string(APPEND entries "    {\"${isa}\", ${features}, prepare_row_${isa}, formats_${isa}},\n")
    quantlinear_add_kernel_source(${target} ${generated}/kernels/${isa}_prepare.cpp "${flags}"
"// Generated: the preparation of activations for ${isa}.
#include \"cpu/isa/${isa}.hpp\"

namespace quantlinear::cpu {
extern const PrepareRow prepare_row_${isa};
const PrepareRow prepare_row_${isa} = Isa::prepare_row;
}  // namespace quantlinear::cpu
")
    foreach(format IN LISTS formats)
      string(REPLACE ":" ";" format "${format}")
      list(GET format 0 name)
      list(GET format 1 file)
      string(APPEND externs "extern const FormatKernels kernels_${isa}_${name};\n")
      string(APPEND tables "    &kernels_${isa}_${name},\n")
      quantlinear_add_kernel_source(${target} ${generated}/kernels/${isa}_${file}.cpp "${flags}"
"// Generated: the kernels of ${name} for ${isa}.
#include \"cpu/isa/${isa}.hpp\"
#include \"cpu/kernels/make_kernels.hpp\"
#include \"formats/${file}.hpp\"

namespace quantlinear::cpu {
extern const FormatKernels kernels_${isa}_${name};
const FormatKernels kernels_${isa}_${name} = make_kernels<Isa, formats::${name}>();
}  // namespace quantlinear::cpu
")
    endforeach()
    string(APPEND tables "};\n")
  endforeach()
  quantlinear_write(${generated}/instruction_sets.cpp
"// Generated from isa/list.def and quant_types.def: the dispatch table.
#include \"cpu/cpu_features.hpp\"
#include \"cpu/kernel_table.hpp\"

namespace quantlinear::cpu {
${externs}
namespace {
${tables}}  // namespace

std::span<const InstructionSet> instruction_sets() noexcept {
  static const InstructionSet sets[] = {
${entries}  };
  return sets;
}
}  // namespace quantlinear::cpu
")
  target_sources(${target} PRIVATE ${generated}/instruction_sets.cpp)
endfunction()
