#!/usr/bin/env bash
# Installs the peers of compare_peers into a virtual environment, built from source for this machine:
#   setup_peers.sh DIR [native|avx2]
# avx2: for AVX2 and FMA only, to compare with our avx2 kernels on a machine that has more.
# JOBS limits the compilers that run at once. Takes a quarter of an hour on two cores.
set -euo pipefail

dir=${1:?usage: setup_peers.sh DIR [native|avx2]}
isa=${2:-native}
llama_version=${LLAMA_CPP_PYTHON_VERSION:-0.3.36}
ik_version=${IK_LLAMA_CPP_PYTHON_VERSION:-0.1.5}

case $isa in
  native) flags="-DGGML_NATIVE=ON" ;;
  avx2) flags="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON" ;;
  *) echo "setup_peers.sh: unknown instruction set: $isa" >&2; exit 2 ;;
esac
export CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(nproc)}

[ -x "$dir/bin/pip" ] || python3 -m venv "$dir"
dir=$(cd "$dir" && pwd)
# Without its cache: a wheel there may have been built for another instruction set.
pip() { "$dir/bin/python" -m pip --disable-pip-version-check --no-cache-dir "$@"; }
pip install --quiet scikit-build-core cmake ninja

echo "llama-cpp-python $llama_version ($isa): building"
CMAKE_ARGS="$flags -DLLAVA_BUILD=OFF" \
  pip install --quiet --no-deps --no-build-isolation --no-binary :all: "llama-cpp-python==$llama_version"

# Its source distribution lacks one generated file's recipe: unpack it and put a stand-in there.
echo "ik-llama-cpp-python $ik_version ($isa): building"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip download --quiet --no-deps --no-build-isolation --no-binary :all: -d "$work" "ik-llama-cpp-python==$ik_version"
mkdir "$work/source"
tar -xzf "$work"/*.tar.gz -C "$work/source" --strip-components=1
recipe=$work/source/vendor/ik_llama.cpp/common/cmake/build-info-gen-cpp.cmake
if [ ! -e "$recipe" ]; then
  mkdir -p "$(dirname "$recipe")"
  cat > "$recipe" <<'CMAKE'
file(WRITE common/build-info.cpp "int LLAMA_BUILD_NUMBER = 0;\n")
foreach(name COMMIT COMPILER BUILD_TARGET)
  file(APPEND common/build-info.cpp "char const * LLAMA_${name} = \"unknown\";\n")
endforeach()
CMAKE
fi
CMAKE_ARGS="$flags -DGGML_IQK_FA_ALL_QUANTS=OFF" \
  pip install --quiet --no-deps --no-build-isolation "$work/source"

ls "$dir"/lib/python*/site-packages/{llama_cpp,ik_llama_cpp}/lib/libggml.so
