// The order of the passes. Each is Graph → Graph; the verifier runs between them.

import type { Graph } from "../ir/graph.js";
import { verifyGraph } from "../ir/verify.js";
import { averageInUpdates } from "./averages.js";
import { gatherCasts } from "./casts.js";
import { eliminateDeadCode } from "./dce.js";
import { widenFormats } from "./formats.js";
import { optimizeLoops } from "./loops.js";
import { activateNorms } from "./norms.js";
import { fusePatterns } from "./patterns.js";
import { mixPrecision } from "./precision.js";
import { formRegions } from "./regions.js";
import { signsOfRounded } from "./signs.js";
import { simplify } from "./simplify.js";
import { narrowStores } from "./stores.js";
import { gatherUpdates } from "./updates.js";

/** The passes, by name, in the order in which they run. */
export const passes: readonly (readonly [string, (graph: Graph) => Graph])[] = [
  ["loops", (graph) => optimizeLoops(graph, optimize)],
  ["dce", eliminateDeadCode],
  ["simplify", simplify],
  ["norms", activateNorms],
  ["patterns", fusePatterns],
  ["precision", (graph) => mixPrecision(graph)],
  // What nobody reads any more would count as a reader.
  ["dce", eliminateDeadCode],
  ["signs", signsOfRounded],
  ["stores", narrowStores],
  ["formats", widenFormats],
  ["dce", eliminateDeadCode],
  ["averages", averageInUpdates],
  ["updates", gatherUpdates],
  ["regions", formRegions],
  ["casts", gatherCasts],
];

/** Runs all passes on a traced graph, for the current device. */
export function optimize(graph: Graph): Graph {
  verifyGraph(graph, "trace");
  return passes.reduce((current, [name, pass]) => {
    const next = pass(current);
    verifyGraph(next, name);
    return next;
  }, graph);
}
