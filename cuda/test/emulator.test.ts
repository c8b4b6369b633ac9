// The emulator's checks: each planted fault is found, for what it is, and no kernel without one is refused.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const program = fileURLToPath(new URL("../lib/figment_cuda_faults", import.meta.url));
const off = process.env.FIGMENT_CUDA === "0";
if (!off && !existsSync(program)) throw new Error(`${program} is not there: npm run build makes it`);

interface Verdict {
  readonly name: string;
  readonly fault: boolean;
  readonly found: boolean;
  readonly message: string;
}

function run(...args: string[]) {
  const { status, signal, stdout } = spawnSync(program, args, { encoding: "utf8" });
  return { status, signal, lines: stdout.split("\n").filter(Boolean) };
}

/** What the message of each planted fault says. */
const faults: Record<string, RegExp> = {
  globalReadPastEnd: /thread 63: accesses elements \[64, 65\) of a global array of 64/,
  globalReadBeforeBegin: /thread 0: accesses elements \[-1, 0\) of a global array of 64/,
  globalWritePastEnd: /thread 63: accesses elements \[64, 65\) of a global array of 64/,
  globalVectorPastEnd: /thread 63: accesses elements \[256, 260\) of a global array of 256/,
  globalVectorOffAlignment: /not aligned to 16 bytes/,
  sharedReadPastEnd: /of a shared array of 64/,
  sharedReadOnePastEnd: /thread 63: accesses elements \[64, 65\) of a shared array of 64/,
  sharedVectorOffAlignment: /not aligned to 16 bytes/,
  dynamicSharedPastLaunch: /dynamic shared memory ends at byte 262144; the launch asked for 1024/,
  tooMuchDynamicShared: /233472 bytes of shared memory; a block has 232448/,
  tooMuchSharedTogether: /16384 bytes besides 225280 of the launch/,
  tooMuchDeclaredShared: /49168 bytes; a kernel may have 49152/,
  readsWhatOtherWarpWrites: /race in shared memory .* thread 0 read with no barrier/,
  readsWhatOwnWarpWrites: /race in shared memory .* thread 0 read with no barrier/,
  writesWhatOthersRead: /race in shared memory .* writes what thread \d+ read/,
  twoWriteOneWord: /race in shared memory .* writes what thread 0 wrote/,
  treeWithoutSyncwarp: /race in shared memory/,
  halfWarpReadsTheOther: /race in shared memory/,
  shuffleIsNoBarrier: /race in shared memory/,
  readsAmongAtomics: /reads what thread \d+ updated/,
  usesArrayAgainTooEarly: /race in shared memory/,
  raceOfLastBlock: /block \(299, 0, 0\), thread \d+: race in shared memory/,
  readsCopyThatNobodyAwaited: /an asynchronous copy of thread 48 has not been waited for/,
  readsCopyOfOtherWithoutBarrier: /race in shared memory/,
  pipelineWaitsForTooFew: /asynchronous copy of thread \d+ has not been waited for/,
  pipelineFillsWhatIsRead: /race in shared memory/,
  copyOffAlignment: /not aligned to 16 bytes/,
  halfOfBlockSkipsBarrier: /divergent __syncthreads: 48 of 64 threads wait at barriers\.cu:\d+, 16 have returned/,
  returnsBeforeBarrier: /divergent __syncthreads: 50 of 64 threads wait at barriers\.cu:\d+, 14 have returned/,
  waitsInTwoPlaces: /divergent __syncthreads: waits at barriers\.cu:\d+ while others wait at barriers\.cu:\d+/,
  warpMeetsInTwoOperations: /different operations: __shfl_xor_sync and __syncwarp/,
  callsFromOutsideItsMask: /thread 0: __syncwarp: the calling lane is not in its mask/,
  warpWaitsForLanesAtBarrier: /divergent __syncwarp: thread 0 waits for lanes of its mask that never come/,
  shuffleFromInactiveLane: /a shuffle of lane 0 reads from lane 20, which takes no part/,
  shuffleFromReturnedLane: /a shuffle of lane 0 reads from lane 30, which takes no part/,
  productOfHalfAWarp: /an operation of a whole warp lacks lanes/,
  readsBoxBeforeItsBarrier: /race in shared memory/,
  copiesForUnpublishedBarrier: /of which the copy engine has not been told/,
  arrivesOnceTooOften: /arrives once more than 1 times at the mbarrier/,
  awaitsMoreBytesThanCome: /deadlock: 64 threads, .* lacks 0 arrivals and 1024 bytes/,
  boxOffAlignment: /not aligned to 128 bytes/,
  boxPastSharedMemory: /names 1024 bytes from byte 262144 of shared memory on/,
  leavesCopyUnderWay: /is under way when its block ends/,
  copiesPixelsByMapOfBoxes: /copies pixels by a map of boxes/,
  fillsStageThatIsRead: /race in shared memory/,
  readsBeforeMbarrier: /race in shared memory/,
  mbarrierLacksArrival: /deadlock: 32 threads, .* lacks 1 arrivals and 0 bytes/,
  arrivesAtNoMbarrier: /where no mbarrier was initialised/,
  twoWarpsDoNotMeet: /race in shared memory/,
  oneOfTwoWarpsWaits: /divergent barrier 1: 32 of 64 threads wait/,
  twoWarpsCountOtherwise: /divergent barrier 1: of 96 threads and of 64/,
  twoWarpsMeetAtBlocksBarrier: /a barrier of number 0 and 64 threads/,
  storesZerosOverWhatIsRead: /race in shared memory/,
  productWithoutFence: /without wgmma\.fence/,
  productOfUnpublishedWrites:
    /by the copy engine or the tensor cores what thread \d+ wrote without fence\.proxy\.async/,
  productWithoutSwizzle: /no swizzle of 128 bytes/,
  productOfTwoWarps: /a warpgroup that lacks threads/,
  productOfOtherFactors: /divergent warpgroup: thread 127 names other factors than thread 0/,
  writesFactorUnderWay: /writes what a product that is under way reads/,
  writesSumsUnderWay: /thread 127 wrote to the sums of a product that was under way/,
  readsSumsUnderWay: /result 0 is nan, expected 32/,
  returnsBeforeProducts: /returns while products of its warpgroup are under way/,
  halfOfWarpgroupWaits: /divergent warpgroup: 64 threads of warpgroup 0 wait for their products, the others never do/,
  waitsForOtherGroups: /waits for all but 1 groups of products while others wait for all but 0/,
  changesHeldFactorUnderWay: /changed a factor in registers while its product was under way/,
  asksForMoreRegisters: /ask for 66560 registers; there are 65536/,
  readsBlockThatNeedNotHaveBegun: /reads shared memory of block 1 of its cluster, which need not have begun/,
  blockEndsWhileItIsRead: /of block 1 of its cluster, which has returned|its block ends although block 1/,
  readsWhatOtherBlockWrites: /race in shared memory .* with no barrier of the cluster between/,
  writesWhatOtherBlockReads: /race in shared memory .* with no barrier of the cluster between/,
  blockSkipsClustersBarrier:
    /divergent barrier of a cluster: 64 of 128 threads wait at clusters\.cu:\d+, 64 have returned/,
  halfOfBlocksSkipClustersBarrier:
    /divergent barrier of a cluster: 64 of 128 threads wait at clusters\.cu:\d+, 64 have/,
  clusterWaitsInTwoPlaces:
    /divergent barrier of a cluster: waits at clusters\.cu:\d+ while others wait at clusters\.cu:\d+/,
  blocksBarrierMeetsClusters: /divergent __syncthreads: 32 of 64 threads wait at clusters\.cu:\d+, 0 have returned/,
  readsBlockOutsideCluster: /reads shared memory of block 2 of its cluster, which has 2/,
  readsPastEndInOtherBlock: /thread 0: accesses elements \[64, 65\) of a shared array of 64/,
  clustersDoNotFillGrid: /clusters of 2 blocks in a row of 3/,
  goesAroundWithOneOfEach: /writes what thread \d+ of block \d of its cluster read with no barrier of the cluster/,
  readsCopyUnderWayInOtherBlock: /reads what an asynchronous copy of thread \d+ there brings with no barrier/,
};

/** A launch that is refused, and a result that shows the fault: no block is named. */
const withoutBlock = new Set(["tooMuchDynamicShared", "readsSumsUnderWay", "clustersDoNotFillGrid"]);

describe.skipIf(off)("the emulator", () => {
  const verdicts = off ? [] : run().lines.map((line) => JSON.parse(line) as Verdict);
  const about = (name: string): string => `emulated kernel of ${name}, block (`;

  it("is tried on every planted fault", () => {
    const planted = verdicts.filter(({ fault }) => fault).map(({ name }) => name);
    expect(planted.sort()).toEqual(Object.keys(faults).sort());
  });

  it.each(Object.entries(faults))("finds %s", (name, message) => {
    const verdict = verdicts.find((one) => one.name === name);
    expect(verdict?.found).toBe(true);
    expect(verdict?.message).toMatch(message);
    if (!withoutBlock.has(name)) expect(verdict?.message).toContain(about(name));
  });

  it.each(verdicts.filter(({ fault }) => !fault).map(({ name, found, message }) => [name, found, message] as const))(
    "finds nothing in %s, whose results are right",
    (_name, found, message) => {
      expect(message).toBe("");
      expect(found).toBe(false);
    },
  );

  it("gives the same verdicts to kernels on their own", () => {
    for (const { name, found, message } of verdicts)
      expect(JSON.parse(run(name).lines[0] as string)).toMatchObject({ name, found, message });
  });

  it("ends the process when a kernel overflows its stack, rather than write over another's", () => {
    expect(run("--overflow").signal).toMatch(/^SIG(SEGV|BUS)$/);
  });

  it("names what it does not know", () => {
    expect(run("noSuchCase").status).toBe(2);
  });
});
