// Starting kernels: launch<kernel>(launcher, grid, threads, arguments…). Views of operands are made
// here, on the host.
#pragma once
#ifndef __CUDACC__
#include <string>
#endif
#include "../runtime/launcher.h"
#include "kernels/kernel.h"
#include "memory.h"

#ifdef FIGMENT_EMULATED
#include "../../emulator/stream.h"
#endif

namespace figment::cuda {

/// The elements that an operand reaches, from its first on.
template <class T>
Global<T> viewOf(const Operand& operand) {
  int64_t last = 0;
  for (int i = 0; i < operand.rank; i++) last += (operand.dims[i] - 1) * operand.strides[i];
  return Global<T>(operand.as<T>(), operand.empty() ? 0 : last + 1);
}
/// The whole of a variant's scratch as elements; `bytes` is what it asked for.
template <class T>
Global<T> scratchView(const Launcher& launcher, int64_t byteOffset, int64_t count) {
  return Global<T>(reinterpret_cast<T*>(launcher.scratch() + byteOffset), count);
}

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

#ifdef FIGMENT_KERNELS

#ifdef FIGMENT_EMULATED
template <auto kernel, class... Arguments>
void emulate(Launcher& launcher, Grid grid, int cluster, int threads, size_t sharedBytes,
             const Arguments&... arguments) {
  emulator::queue(launcher.stream(), [=, name = launcher.recordName()] {
    emulator::runGrid({uint32_t(grid.x), uint32_t(grid.y), uint32_t(grid.z)}, uint32_t(cluster),
                      uint32_t(threads), sharedBytes, name, [&] { kernel(arguments...); });
  });
}
#endif

/// Whether a launch has work; throws Error where its grid is none that a GPU takes.
template <auto kernel>
bool prepareLaunch(Launcher& launcher, Grid grid, size_t sharedBytes) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return false;
  launcher.checkGrid(grid.x, grid.y, grid.z);
#ifdef __CUDACC__
  if (sharedBytes > 48 * 1024)
    launcher.allowShared(reinterpret_cast<const void*>(kernel), sharedBytes);
#endif
  return true;
}

/// Queues a kernel. `sharedBytes` of dynamic shared memory may exceed 48 KiB. A grid without blocks
/// is no work. Throws Error when the driver refuses.
template <auto kernel, class... Arguments>
void launch(Launcher& launcher, Grid grid, int threads, size_t sharedBytes,
            const Arguments&... arguments) {
  if (!prepareLaunch<kernel>(launcher, grid, sharedBytes)) return;
#ifdef __CUDACC__
  kernel<<<dim3(unsigned(grid.x), unsigned(grid.y), unsigned(grid.z)), dim3(unsigned(threads)),
           sharedBytes, static_cast<cudaStream_t>(launcher.stream())>>>(arguments...);
  launcher.checkLaunch();
#else
  emulate<kernel>(launcher, grid, 1, threads, sharedBytes, arguments...);
#endif
}

#endif

/// A block for each task, however many there are: blockInGrid() tells which, and may pass the last.
inline Grid blocksFor(int64_t tasks) {
  constexpr int64_t kRow = int64_t{1} << 30;
  return tasks <= kRow ? Grid{tasks} : Grid{kRow, ceilDiv(tasks, kRow)};
}

/// Blocks of `threads` for loops that stride over the grid: one thread for each piece of work, but
/// no more blocks than keep the device busy.
inline Grid gridFor(const Launcher& launcher, int64_t pieces, int threads) {
  const int64_t most = int64_t(launcher.multiprocessors()) * (2048 / threads) * 4;
  const int64_t blocks = ceilDiv(pieces, int64_t(threads));
  return {blocks < most ? blocks : most};
}

}  // namespace figment::cuda
