"""The PyTorch model that test/interchange.test.ts exchanges weights with: one of each layer whose layout or names differ.

As a program, `python3 torch_model.py weights.safetensors output.safetensors` loads such weights strictly into it and
writes what it makes of the recorded input, in evaluation mode.
"""

import json
import pathlib
import struct
import sys

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

here = pathlib.Path(__file__).parent
sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))


def make() -> nn.Module:
    """[N,3,6,5] -> [N,4,2,3]."""
    return nn.Sequential(
        nn.Conv2d(3, 8, (3, 2), padding=1),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),
        nn.GroupNorm(2, 8),
        spectral_norm(nn.Conv2d(8, 6, 3, stride=2, padding=1)),
        spectral_norm(nn.ConvTranspose2d(6, 4, (4, 3), stride=2, padding=1)),
        nn.ConvTranspose2d(4, 6, 3, padding=1, groups=2),
        nn.InstanceNorm2d(6, affine=True),
        nn.Flatten(),
        spectral_norm(nn.Linear(6 * 6 * 5, 16)),
        nn.BatchNorm1d(16),
        nn.Linear(16, 4 * 2 * 3),
        nn.Unflatten(1, (4, 2, 3)),
    )


def read(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file of f32."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = bytearray(raw[8 + length + begin : 8 + length + end])
        tensors[name] = torch.frombuffer(data, dtype=torch.float32).reshape(entry["shape"])
    return tensors


if __name__ == "__main__":
    weights, output = map(pathlib.Path, sys.argv[1:])
    from golden_file import write

    model = make().eval()
    model.load_state_dict(read(weights), strict=True)
    with torch.no_grad():
        y = model(read(here / "interchange.safetensors")["x"])
    write_at = output.with_suffix(".py")
    write_at.write_text("")
    write(write_at, {"y": y.contiguous()}, 0)
