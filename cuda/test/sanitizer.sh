#!/bin/sh
# Builds the kernels with planted faults for this machine's GPU and compares the emulator's verdicts on them with
# compute-sanitizer's: sanitizer.mjs. Needs nvcc, CMake, compute-sanitizer, and cuda/lib/figment_cuda_faults (npm run build).
#   NODE    the Node to run (default: node)     CUDACXX    the nvcc (default: that of the PATH)
set -e
cuda=$(cd "$(dirname "$0")/.." && pwd)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
[ "$capability" = 90 ] && capability=90a
cmake -S "$cuda" -B "$cuda/build/faults" -DFIGMENT_EMULATOR=OFF -DFIGMENT_FAULTS=ON "-DFIGMENT_ARCHITECTURES=$capability-real" \
  "-DCMAKE_CUDA_COMPILER=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}" >/dev/null
cmake --build "$cuda/build/faults" --target figment_cuda_faults --parallel 4 >/dev/null
exec "${NODE:-node}" "$cuda/test/sanitizer.mjs" "$cuda/build/faults/figment_cuda_faults" "$@"
