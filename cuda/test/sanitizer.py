#!/usr/bin/env python3
"""Compares the emulator's verdicts with those of NVIDIA's compute-sanitizer on a real GPU.

    python3 cuda/test/sanitizer.py GPU_FAULTS [--emulated EMULATED_FAULTS] [--seconds 20] [--json OUT]

GPU_FAULTS is figment_cuda_faults built with nvcc (cmake -DFIGMENT_FAULTS=ON), EMULATED_FAULTS the one of the emulator
(default: cuda/lib/figment_cuda_faults). Each case runs under the tool that it is for: memcheck, racecheck or synccheck;
those that the launch must refuse run alone. A case may take so many seconds; one that hangs counts as found, because
only faults hang. Faults marked strict are refused by the emulator although the hardware's tools may let them pass: their
verdicts are shown and need not agree. Ends with 1 when any other verdicts differ.
"""

import argparse
import json
import pathlib
import subprocess
import sys

FOUND = 33  # the exit status that compute-sanitizer is asked for


def lines(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=600, check=False)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def run_alone(program, name, seconds):
    """Whether the program itself says that something is wrong, and what."""
    try:
        done = subprocess.run([program, name], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return True, f"did not end in {seconds} s"
    verdicts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not verdicts:
        return True, f"ended with status {done.returncode}"
    return verdicts[0]["found"], verdicts[0]["message"]


def run_under(tool, program, name, seconds):
    """Whether the tool found something, and the first of what it said."""
    options = ["--error-exitcode", str(FOUND), "--print-limit", "1"]
    if tool == "racecheck":
        options += ["--racecheck-report", "all"]
    command = ["compute-sanitizer", "--tool", tool, *options, program, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return True, f"did not end in {seconds} s"
    said = [line.removeprefix("=========").strip() for line in done.stdout.splitlines() if line.startswith("=========")]
    if any("Target application terminated before" in line or "Unable to" in line for line in said):
        raise SystemExit(f"{tool} cannot judge {name}: " + " ".join(said))
    said = [line for line in said if line and line != "COMPUTE-SANITIZER"]
    found = done.returncode == FOUND
    if not found:
        verdicts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not verdicts:
            return True, f"ended with status {done.returncode}"
        return False, verdicts[0]["message"]
    return True, said[0] if said else ""


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Compares the emulator's verdicts with compute-sanitizer's.")
    parser.add_argument("gpu")
    parser.add_argument("--emulated", default=str(here.parent / "lib" / "figment_cuda_faults"))
    parser.add_argument("--seconds", type=float, default=20, help="for each case")
    parser.add_argument("--json", help="where to write the verdicts")
    options = parser.parse_args()

    emulated = {verdict["name"]: verdict for verdict in lines(options.emulated)}
    results = []
    for case in lines(options.gpu, "--list"):
        name, tool = case["name"], case["tool"]
        if tool == "launch":
            found, message = run_alone(options.gpu, name, options.seconds)
        else:
            found, message = run_under(tool, options.gpu, name, options.seconds)
        there = emulated.get(name, {}).get("found")
        agree = found == there
        results.append({**case, "gpu": found, "emulator": there, "agree": agree, "message": message})
        mark = "same" if agree else "stricter" if case["strict"] and there else "DIFFERS"
        print(f"{mark:9}{tool:10}{name:34}gpu {'found' if found else '-':6} emulator {'found' if there else '-':6} {message[:90]}")
        sys.stdout.flush()

    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf8")
    differ = [result["name"] for result in results if not result["agree"] and not result["strict"]]
    print(f"{len(results)} cases, {sum(r['agree'] for r in results)} alike, {len(differ)} that differ: {', '.join(differ)}")
    return 1 if differ or not results else 0


if __name__ == "__main__":
    sys.exit(main())
