"""The peer for eager dispatch: an addition of few elements in eager PyTorch, on one thread.

Usage: torch_eager_op.py CONFIG_JSON, with the number of elements. Prints one line of JSON when ready; then, for each line
`N` on standard input, adds N times and prints `done`.
"""

import json
import sys

import torch

torch.set_num_threads(1)
elements = json.loads(sys.argv[1])["elements"]
a, b = torch.rand(elements), torch.rand(elements)
print(json.dumps({"version": torch.__version__, "parameters": 0}), flush=True)
for line in sys.stdin:
    with torch.no_grad():
        for _ in range(int(line)):
            c = torch.add(a, b)
    print("done", flush=True)
