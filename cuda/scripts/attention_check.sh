#!/bin/sh
# Builds and runs test/attention_check on a machine with nvcc and a GPU; arguments are names of variants.
# native/src/kernels/params must have been generated. ARCH=90a or another; BUILD_ONLY=1 builds it. By
# default a kernel that waits for seconds ends with an error; WATCHDOG=0 leaves that out, for timings:
# heads of 128 elements have no registers left for it and lose the overlap of their products.
set -e
cd "$(dirname "$0")/.."
native=../native
build=${BUILD_DIR:-build/attention}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
arch=${ARCH:-90a}
mkdir -p "$build"
options="-std=c++20 -O2 --expt-relaxed-constexpr -gencode=arch=compute_$arch,code=sm_$arch
  -I$native/src -I$native/include -Isrc"
[ "${WATCHDOG:-1}" = 0 ] || options="$options -DFIGMENT_WATCHDOG"
hopper=""
[ "$arch" != 90a ] || hopper=$(echo src/kernels/gemm/*.sm90a.*)
objects=""
list=""
products="src/kernels/gemm/mma.cu src/kernels/gemm/tiled.cu src/kernels/gemm/sum_splits.cu
  src/kernels/gemm/work.cpp"
for source in src/kernels/attention/*.cu src/kernels/attention/*.cpp $products $hopper src/runtime/counter.cu src/runtime/launcher.cpp \
  test/attention_check.cu; do
  case $source in *.sm90a.*) [ "$arch" = 90a ] || continue ;; esac
  object=$build/$(echo "$source" | tr / _).o
  list="$list$source $object
"
  objects="$objects $object"
done
printf %s "$list" | xargs -P "${JOBS:-$(nproc)}" -L 1 sh -c \
  '[ "$2" -nt "$1" ] && [ -z "$FORCE" ] || '"$nvcc $(echo $options)"' -x cu -c "$1" -o "$2"' sh
$nvcc -gencode=arch=compute_$arch,code=sm_$arch $objects -o "$build/attention_check"
[ -n "$BUILD_ONLY" ] || exec "$build/attention_check" "$@"
