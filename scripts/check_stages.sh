# The stages of ./check: for each its packages, its description and a function. Sourced by ./check.
# A stage function runs with "set -e"; what it prints goes to its log.
# shellcheck shell=bash disable=SC2034,SC2154

all_stages=()
declare -A describe packages fast_stages
packages_base="g++ cmake ninja-build ccache python3 python3-venv pkg-config make"
# What the program, the tests and the comparison with peers are built with.
packages_build="libcli11-dev libfmt-dev nlohmann-json3-dev libgtest-dev"

# stage NAME fast|full PACKAGES DESCRIPTION
stage() {
  all_stages+=("$1")
  [ "$2" != fast ] || fast_stages[$1]=yes
  packages[$1]=$3
  describe[$1]=$4
}

# build PRESET TARGET... [-- CMAKE_ARGUMENT...]
build() {
  local preset=$1 targets=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=("$1")
    shift
  done
  [ $# -eq 0 ] || shift
  cmake --preset "$preset" "$@"
  cmake --build "build/$preset" --target "${targets[@]}"
}

# The release build that most stages look at, with Python for the tests that need it.
build_release() {
  ensure_venv check "${oracle_requirements[@]}"
  build release all -- -DPython3_EXECUTABLE="$venv_python"
}
oracle_requirements=(numpy gguf==0.19.0)

sources() {
  find include src tools tests examples bench fuzz \( -name '*.cpp' -o -name '*.hpp' \) -print0
}

# ---- style -------------------------------------------------------------------------------------
stage style fast "clang-format-19 shellcheck" \
  "formatting, include directions, file sizes, README tables, shell scripts"
stage_style() {
  local faults=0
  sources | xargs -0 clang-format-19 --dry-run -Werror -ferror-limit=1 || faults=1
  python3 scripts/check_layers.py || faults=1
  python3 scripts/formats_table.py --check README.md || faults=1
  python3 scripts/make_tables.py --check || faults=1
  shellcheck -x demo check .ci/run scripts/*.sh || faults=1
  [ $faults = 0 ]
}

# ---- the release build by g++, and what is looked at in it -------------------------------------
stage build fast "$packages_build" "g++, Release, warnings are errors; every public header compiles alone"
stage_build() {
  build_release
  cmake --build build/release --target quantlinear_verify_interface_header_sets
}

stage unit fast "$packages_build" "unit tests: golden data, hostile files, awkward shapes, guard pages"
stage_unit() {
  build_release
  ctest --preset release -j "$jobs" --timeout 600 -LE python
}

stage cli fast "$packages_build" "the program; files and values against the Python package gguf"
stage_cli() {
  build_release
  ctest --preset release -j "$jobs" --timeout 600 -L python
}

stage symbols fast "$packages_build" "no kernel object can leak code of its instruction set into the rest"
stage_symbols() {
  build_release
  python3 scripts/check_isa_symbols.py --self-test
  python3 scripts/check_isa_symbols.py build/release
}

stage readme fast "$packages_build" "the README: its C++ example runs, its commands exist"
stage_readme() {
  build_release
  local out=build/check/readme
  rm -rf $out
  mkdir -p $out
  build/release/tools/qlinear/qlinear make-sample $out/model.gguf
  python3 scripts/extract_readme.py README.md $out/example.cpp
  g++ -std=c++23 -Wall -Wextra -Werror -O1 -Iinclude $out/example.cpp build/release/libquantlinear.a -pthread \
    -o $out/example
  (cd $out && ./example)
  python3 scripts/extract_readme.py --commands README.md build/release/tools/qlinear/qlinear
}

stage install fast "$packages_build" "installed and moved, used through find_package and pkg-config"
stage_install() {
  build_release
  local out=$root/build/check/install prefix=$root/build/check/install/moved
  rm -rf "$out"
  cmake --install build/release --prefix "$out/first"
  mv "$out/first" "$prefix"
  cmake -S tests/install/find_package -B "$out/find_package" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_FIND_PACKAGE_NO_PACKAGE_REGISTRY=ON
  cmake --build "$out/find_package"
  "$out/find_package/consumer"
  local pc
  pc=$(dirname "$(find "$prefix" -name quantlinear.pc)")
  PKG_CONFIG_PATH=$pc make -C tests/install/pkg_config OUT="$out"
  "$out/consumer"
  "$prefix/bin/qlinear" --version
}

stage demo fast "$packages_build" "./demo on the small file that it makes itself"
stage_demo() {
  build_release
  cmake --preset demo
  ./demo --sample --program build/release/tools/qlinear/qlinear
}

# ---- other compilers, sanitizers, machines -----------------------------------------------------
# The build under AddressSanitizer, with no kernels that this machine could not run anyway.
build_asan() {
  local sets='scalar;avx2'
  if grep -qw avx512_vnni /proc/cpuinfo; then sets+=';avx512_vnni'; fi
  build asan all -- "-DQUANTLINEAR_INSTRUCTION_SETS=$sets"
}

stage clang full "$packages_build clang-19" "clang 19, Release: build and unit tests, symbols"
stage_clang() {
  build clang all
  ctest --preset clang -j "$jobs" --timeout 600 -LE python
  python3 scripts/check_isa_symbols.py build/clang
}

stage asan full "$packages_build clang-19 libclang-rt-19-dev" "all unit tests under AddressSanitizer and UBSan"
stage_asan() {
  build_asan
  ctest --preset asan -j "$jobs" --timeout 1200 -LE python
}

# Each harness of fuzz/ starts from its kept corpus (fuzz/corpus/NAME); what it finds goes to build/.
fuzz_seconds=${FUZZ_SECONDS:-20}
stage fuzz full "$packages_build clang-19 libclang-rt-19-dev" "each libFuzzer harness for $fuzz_seconds s, from its kept corpus"
stage_fuzz() {
  build_asan
  local source name work found=0
  for source in fuzz/*.cpp; do
    name=$(basename "$source" .cpp)
    [ -x "build/asan/fuzz/$name" ] || continue
    found=$((found + 1))
    work=build/check/fuzz/$name
    rm -rf "$work"
    mkdir -p "$work/corpus"
    local corpora=("$work/corpus")
    [ ! -d "fuzz/corpus/$name" ] || corpora+=("fuzz/corpus/$name")
    echo "== $name"
    "build/asan/fuzz/$name" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
      -artifact_prefix="$work/" "${corpora[@]}"
  done
  [ $found -gt 0 ]
}

stage tsan full "$packages_build clang-19 libclang-rt-19-dev" "threads, pools and contexts under ThreadSanitizer"
stage_tsan() {
  # Only the tests that start threads: some of the others have an operator new of their own, as its runtime has.
  local tests
  mapfile -t tests < <(basename -s .cpp tests/*_test.cpp | grep -E "$threaded_tests")
  build tsan "${tests[@]}"
  ctest --preset tsan -j 1 --timeout 1200 -LE python -R "($threaded_tests).*_test$"
}
threaded_tests='thread|concurren|executor|pool|fused|context'

stage aarch64 full "$packages_build g++-aarch64-linux-gnu qemu-user googletest" "cross build for 64-bit ARM, tests under qemu"
stage_aarch64() {
  local gtest=$root/build/check/aarch64-googletest
  if [ ! -d "$gtest/installed" ]; then
    cmake -S /usr/src/googletest -B "$gtest" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF \
      -DCMAKE_TOOLCHAIN_FILE="$root/cmake/aarch64-linux-gnu.cmake" -DCMAKE_INSTALL_PREFIX="$gtest/installed"
    cmake --build "$gtest" --target install
  fi
  build aarch64 all -- -DCMAKE_PREFIX_PATH="$gtest/installed" -DQUANTLINEAR_PROGRAM=OFF
  # qemu-user cannot fork a process with threads.
  GTEST_FILTER='-ThreadPoolFork.*' ctest --preset aarch64 -j "$jobs" --timeout 1800 -LE python
  python3 scripts/check_isa_symbols.py build/aarch64 --nm aarch64-linux-gnu-nm
  arm_sets_on max neon_dotprod neon_i8mm scalar
  arm_sets_on neoverse-n1 neon_dotprod scalar
  arm_sets_on cortex-a53 scalar
}
# arm_sets_on CPU SET...: the tests take exactly these instruction sets on this CPU, and the library works there.
arm_sets_on() {
  local cpu=$1 out=build/check/aarch64-sets found
  local emulator=(qemu-aarch64 -cpu "$cpu" -L /usr/aarch64-linux-gnu)
  shift
  mkdir -p $out
  "${emulator[@]}" build/aarch64/tests/kernels_test --gtest_filter='InstructionSets.*:*MatchesTheGoldenProducts/Q4_K' \
    --gtest_output="xml:$out/$cpu.xml"
  found=$(grep -o '[a-z0-9_]*_a8' "$out/$cpu.xml" | sort -u | sed 's/_a8$//' | xargs)
  [ "$found" = "$*" ]
  "${emulator[@]}" build/aarch64/tests/fused_test
}

# The same binary that uses AVX2 here must run on a CPU of 2008, on its scalar path.
stage baseline full "$packages_build qemu-user" "the release binaries on an old x86-64 (Nehalem, under qemu)"
stage_baseline() {
  [ "$(uname -m)" = x86_64 ]
  build_release
  local out=build/check/baseline old=(qemu-x86_64 -cpu Nehalem)
  mkdir -p $out
  "${old[@]}" build/release/tools/qlinear/qlinear make-sample $out/sample.gguf
  local name
  name=$(build/release/tools/qlinear/qlinear info --json $out/sample.gguf |
    python3 -c 'import json, sys; print(next(t["name"] for t in json.load(sys.stdin)["tensors"] if len(t["shape"]) == 2))')
  "${old[@]}" build/release/tools/qlinear/qlinear explain --json $out/sample.gguf "$name" | tee $out/explain.json
  grep -q '"isa": *"scalar"' $out/explain.json
  "${old[@]}" build/release/tools/qlinear/qlinear verify $out/sample.gguf
  for name in $baseline_tests; do
    "${old[@]}" "build/release/tests/$name"
  done
}
baseline_tests='formats_test'

stage tidy full "$packages_build clang-19 clang-tidy-19" "clang-tidy on the library and the program"
stage_tidy() {
  cmake --preset clang
  # Its compile commands hold the generated kernels and the tests too; the pattern leaves those out.
  run-clang-tidy-19 -quiet -p build/clang -j "$jobs" "^$root/(src|tools)/.*\.cpp$"
}
