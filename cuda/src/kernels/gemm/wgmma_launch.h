// The kernel's instances for one format of factors. Include from *.sm90a.cu files only.
#pragma once

#include "wgmma_kernel.h"
#include "wgmma_plan.h"

namespace figment::cuda::wgmma {

template <class T, int columns, bool acrossA, bool acrossB>
void launchInstance(Launcher& launcher, const Maps& maps, const Work& work) {
  const int blocks =
      work.tiles() < launcher.multiprocessors() ? work.tiles() : launcher.multiprocessors();
  launch<wgmmaKernel<T, columns, acrossA, acrossB>>(launcher, {blocks}, kBlockThreads,
                                                    Stages<columns, acrossB>::kShared, maps, work);
}

template <class T, int columns>
void launchColumns(Launcher& launcher, bool acrossA, bool acrossB, const Maps& maps,
                   const Work& work) {
  if (acrossA)
    launchInstance<T, columns, true, true>(launcher, maps, work);
  else
    acrossB ? launchInstance<T, columns, false, true>(launcher, maps, work)
            : launchInstance<T, columns, false, false>(launcher, maps, work);
}

template <class T>
void launchTiles(Launcher& launcher, bool acrossA, bool acrossB, int tileColumns, const Maps& maps,
                 const Work& work) {
  switch (tileColumns) {
    case 64:
      return launchColumns<T, 64>(launcher, acrossA, acrossB, maps, work);
    case 128:
      return launchColumns<T, 128>(launcher, acrossA, acrossB, maps, work);
    case 160:
      return launchColumns<T, 160>(launcher, acrossA, acrossB, maps, work);
    default:
      return launchColumns<T, 256>(launcher, acrossA, acrossB, maps, work);
  }
}

}  // namespace figment::cuda::wgmma
