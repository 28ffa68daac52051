#!/usr/bin/env bash
# launch/peers/build-llama.cpp DIR
# Builds llama-bench and llama-batched-bench into DIR/llama.cpp/bin, from the source that the PyPI package
# llama-cpp-python carries. Needs python3 with venv, CMake, Ninja and g++; about 4 minutes on 2 cores. On a processor with
# AMX it is built without it. CPUINFO names another file than /proc/cpuinfo (tests).
set -euo pipefail

version=0.3.36  # llama.cpp 0c1e57098, ggml 0.25.3
case ${1:-} in
  '' | -*) sed -n '2,5s/^# \{0,1\}//p' "$0"; [ "${1:-}" = --help ] || exit 2; exit 0 ;;
esac
mkdir -p "$1"
dir=$(cd "$1" && pwd)

package=llama_cpp_python-$version
if [ ! -e "$dir/$package.tar.gz" ]; then
  [ -x "$dir/pip/bin/python" ] || python3 -m venv "$dir/pip"
  "$dir/pip/bin/python" -m pip download -q --no-binary :all: --no-deps -d "$dir" "llama-cpp-python==$version"
fi
source=$dir/$package/vendor/llama.cpp
[ -d "$source" ] || tar -xf "$dir/$package.tar.gz" -C "$dir"

# llama.cpp's AMX path, compiled by gcc 12, dies of SIGILL in its worker threads; everything else that such a processor has
# is named one by one, since GGML_NATIVE would bring AMX along.
instructions=(-DGGML_NATIVE=ON)
if grep -qw amx_tile "${CPUINFO:-/proc/cpuinfo}"; then
  echo "llama.cpp is built without AMX: its AMX path dies of SIGILL" >&2
  instructions=(-DGGML_NATIVE=OFF)
  for extension in SSE42 AVX AVX2 F16C FMA BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16; do
    instructions+=("-DGGML_$extension=ON")
  done
fi

cmake -S "$source" -B "$dir/llama.cpp" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Release \
  "${instructions[@]}" -DGGML_OPENMP=ON -DGGML_LLAMAFILE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
  -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
cmake --build "$dir/llama.cpp" --target llama-bench llama-batched-bench
