#!/bin/sh
# Builds and runs test/hopper_check on a machine with nvcc and a Hopper GPU; arguments are names of groups.
# native/src/kernels/params must have been generated. BUILD_ONLY=1 builds it.
set -e
cd "$(dirname "$0")/.."
native=../native
build=${BUILD_DIR:-build/hopper}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
mkdir -p "$build"
options="-std=c++20 -O2 --expt-relaxed-constexpr -gencode=arch=compute_90a,code=sm_90a -DFIGMENT_WATCHDOG
  -I$native/src -I$native/include -Isrc"
objects=""
list=""
for source in src/kernels/gemm/*.sm90a.* src/kernels/matmul/wgmma*.sm90a.* src/kernels/conv/wgmma*.sm90a.* \
  src/runtime/counter.cu src/runtime/launcher.cpp test/hopper_check.cu; do
  [ -e "$source" ] || continue
  object=$build/$(echo "$source" | tr / _).o
  list="$list$source $object
"
  objects="$objects $object"
done
printf %s "$list" | xargs -P "${JOBS:-$(nproc)}" -L 1 sh -c \
  '[ "$2" -nt "$1" ] && [ -z "$FORCE" ] || '"$nvcc $(echo $options)"' -x cu -c "$1" -o "$2"' sh
$nvcc -gencode=arch=compute_90a,code=sm_90a $objects -o "$build/hopper_check"
[ -n "$BUILD_ONLY" ] || exec "$build/hopper_check" "$@"
