"""Records what the public weights disentangling-vae/VAE_mnist make of four test images of MNIST.

Run `FIGMENT_DATA=<folder> python3 burgess.py`; it writes burgess.safetensors beside itself. Images are channels-last.
"""

import gzip
import os
import pathlib
import struct
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

data = pathlib.Path(os.environ["FIGMENT_DATA"])
torch.set_num_threads(1)
weights = torch.load(data / "checkpoints/disentangling-vae/VAE_mnist/model.pt", map_location="cpu", weights_only=True)


def images(count: int) -> torch.Tensor:
    path = next((data / "mnist").glob("t10k-images*"))
    raw = (gzip.open(path) if path.suffix == ".gz" else open(path, "rb")).read()
    _, _, height, width = struct.unpack(">IIII", raw[:16])
    pixels = torch.frombuffer(bytearray(raw[16 : 16 + count * height * width]), dtype=torch.uint8)
    return pixels.reshape(count, 1, height, width).to(torch.float32) / 255


def linear(name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def conv(name: str, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2, padding=1)


def conv_transposed(name: str, x: torch.Tensor) -> torch.Tensor:
    return F.conv_transpose2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2, padding=1)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


with torch.no_grad():
    x = F.interpolate(images(4), size=(32, 32), mode="bilinear", align_corners=False)
    h = x
    for i in (1, 2, 3):
        h = F.relu(conv(f"encoder.conv{i}", h))
    h = F.relu(linear("encoder.lin1", h.reshape(4, -1)))
    h = F.relu(linear("encoder.lin2", h))
    mean, log_variance = linear("encoder.mu_logvar_gen", h).view(4, -1, 2).unbind(-1)
    h = mean
    for i in (1, 2, 3):
        h = F.relu(linear(f"decoder.lin{i}", h))
    h = h.view(4, 32, 4, 4)
    for i in (1, 2):
        h = F.relu(conv_transposed(f"decoder.convT{i}", h))
    reconstruction = torch.sigmoid(conv_transposed("decoder.convT3", h))

recorded = {
    "mnist/x": nhwc(x),
    "mnist/mean": mean.contiguous(),
    "mnist/logVariance": log_variance.contiguous(),
    "mnist/reconstruction": nhwc(reconstruction),
}
write(pathlib.Path(__file__), recorded, 0)
print("mean squared error", ((x - reconstruction) ** 2).mean().item())
