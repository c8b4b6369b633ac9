"""Records what PyTorch makes of the public weights: the conditional WGAN-GP generator on MNIST, DnCNN-25 and the compact
Real-ESRGAN network, each on a small input.

Run `FIGMENT_DATA=<folder> python3 checkpoints.py`, the folder that holds checkpoints/; it writes checkpoints.safetensors beside
itself. Networks are written down from their papers and the names in the files. Images are channels-last [N,H,W,C], as Figment has
them; numbers float32.
"""

import os
import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 27182
here = pathlib.Path(__file__)
folder = pathlib.Path(os.environ["FIGMENT_DATA"]) / "checkpoints"
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}


def load(path: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / path, map_location="cpu", weights_only=True)


def record(case: str, **values: torch.Tensor) -> None:
    for name, value in values.items():
        value = value.detach()
        tensors[f"{case}/{name}"] = value.to(torch.int32 if value.dtype == torch.int64 else torch.float32).contiguous().clone()


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def conv(w: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)


# The generator. That its norms have eps 0.8 after convolutions and ReLU follows them shows in its own running statistics, which
# batches of its activations then have (1 to 2 % off; 20 % and more with leaky slopes, 90 % with eps 1e-5).
w = load("cwgan-gp-mnist/generator.pth")


def norm(name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    at = f"conv_blocks.{name}."
    return F.batch_norm(x, w[f"{at}running_mean"], w[f"{at}running_var"], w[f"{at}weight"], w[f"{at}bias"], False, 0.1, eps)


z, label = torch.randn(10, 10), torch.arange(10)
h = F.linear(torch.cat([z, w["label_emb.weight"][label]], 1), w["l1.0.weight"], w["l1.0.bias"]).reshape(-1, 128, 7, 7)
h = conv(w, "conv_blocks.2", F.interpolate(norm("0", h, 1e-5), scale_factor=2))
h = conv(w, "conv_blocks.6", F.interpolate(F.relu(norm("3", h, 0.8)), scale_factor=2))
record("cwganGp", z=z, label=label, y=nhwc(torch.tanh(conv(w, "conv_blocks.9", F.relu(norm("7", h, 0.8))))))

# DnCNN: the output is the noise.
w = load("dncnn/dncnn_25.pth")
x = torch.rand(1, 1, 24, 20)
h = x
for i in range(17):
    h = conv(w, f"model.{2 * i}", h if i == 0 else F.relu(h))
record("dncnn", x=nhwc(x), y=nhwc(x - h))

# The compact network: the enlarged input is added.
w = load("realesr-animevideov3/realesr-animevideov3.pth")["params"]
x = torch.rand(1, 3, 12, 10)
h = x
for i in range(17):
    h = F.prelu(conv(w, f"body.{2 * i}", h), w[f"body.{2 * i + 1}.weight"])
y = F.pixel_shuffle(conv(w, "body.34", h), 4) + F.interpolate(x, scale_factor=4, mode="nearest")
record("compact", x=nhwc(x), y=nhwc(y))

write(here, tensors, SEED)
