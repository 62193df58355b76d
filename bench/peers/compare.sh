#!/usr/bin/env bash
# The peer comparison in one command: installs the peers where they are missing, builds, runs.
#   bench/peers/compare.sh [OPTIONS of compare_peers]
# BUILD_DIR (build) is the build folder, PEERS_DIR (BUILD_DIR/peers) the virtual environment.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD_DIR:-$root/build}
peers=${PEERS_DIR:-$build/peers}

compgen -G "$peers/lib/python*/site-packages/ik_llama_cpp/lib/libggml.so" > /dev/null ||
  "$root/bench/peers/setup_peers.sh" "$peers"
[ -e "$build/CMakeCache.txt" ] || cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release
cmake --build "$build" --parallel --target compare_peers peer_ggml peer_ours
exec "$build/bench/peers/compare_peers" --venv "$peers" "$@"
