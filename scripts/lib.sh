# Shared by ./demo and ./check: messages, packages, Python environments, builds. Sourced, not run.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/quantlinear
jobs=$(nproc)

# Object files are shared between clones and build folders where ccache is present.
use_ccache() {
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
  fi
}

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
else
  bold='' green='' red='' dim='' plain=''
fi

# quietly LOG COMMAND...: output goes to LOG; only if the command fails is its end shown.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    printf '\n%sfailed:%s %s\n' "$red" "$plain" "$*" >&2
    tail -n 40 "$log" | sed 's/^/  | /' >&2
    printf '  (all of it: %s)\n' "$log" >&2
    return 1
  fi
}

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# ensure_packages PACKAGE...: installs the Debian packages that are missing. On other systems the
# caller's tools are taken as they are.
ensure_packages() {
  command -v dpkg-query >/dev/null || return 0
  local missing=() package
  for package in "$@"; do
    [[ " ${missing[*]} " == *" $package "* ]] || installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      printf 'missing Debian packages, and no right to install them: %s\n' "${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  local log=$root/build/log/packages.log
  printf '%sinstalling %s%s\n' "$dim" "${missing[*]}" "$plain"
  if [ -z "${package_lists_fresh:-}" ]; then
    quietly "$log" "${as_root[@]}" apt-get update || return 1
    package_lists_fresh=yes
  fi
  quietly "$log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    "${missing[@]}"
}

# ensure_venv NAME [REQUIREMENT...]: a Python environment in the cache folder (the system's own is
# never touched); sets `venv_python`.
ensure_venv() {
  local venv=$cache/venv-$1 log=$root/build/log/python.log
  shift
  if ! command -v python3 >/dev/null || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    ensure_packages python3 python3-venv || return 1
  fi
  if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    rm -rf "$venv"
    quietly "$log" python3 -m venv "$venv" || return 1
  fi
  venv_python=$venv/bin/python
  [ $# -eq 0 ] || [ "$(cat "$venv/requirements" 2>/dev/null)" = "$*" ] && return 0
  quietly "$log" "$venv_python" -m pip install --disable-pip-version-check "$@" || return 1
  printf '%s' "$*" >"$venv/requirements"
}
