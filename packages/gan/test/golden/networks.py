"""Records small PyTorch counterparts of the networks of @figment/gan with their state dicts: the DCGAN generator under the names of
PyTorch's examples, critics under the names that Figment exports. In evaluation mode; running statistics are drawn.

Run `python3 networks.py`; it writes networks.safetensors beside itself. Weights are as PyTorch has them; images are channels-last
[N,H,W,C], as Figment has them.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 16180
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}


def put(key: str, value: torch.Tensor) -> None:
    value = value.detach()
    tensors[key] = value.to(torch.int32 if value.dtype == torch.int64 else torch.float32).contiguous().clone()


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


class Generator(nn.Module):
    """8×8 images of 2 channels from 5 latents."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(5, 6, 2, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 2, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z[:, :, None, None])


class Spread(nn.Module):
    """Minibatch standard deviation over groups of 4, one feature."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        y = x.reshape(4, n // 4, c, h, w)
        y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean([1, 2, 3])
        return torch.cat([x, y.repeat(4)[:, None, None, None].expand(n, 1, h, w)], 1)


class Critic(nn.Module):
    """8×8 images of 2 channels; features are flattened channels-first."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        wrap = spectral_norm if norm == "spectral" else (lambda layer: layer)
        make = {"batch": nn.BatchNorm2d, "layer": lambda c: nn.GroupNorm(1, c)}.get(norm)
        self.convs = nn.ModuleList(
            [
                wrap(nn.Conv2d(2, 4, 4, 2, 1)),
                wrap(nn.Conv2d(4, 6, 4, 2, 1, bias=make is None)),
            ]
        )
        self.norms = nn.ModuleList([nn.Identity(), make(6) if make else nn.Identity()])

    def features(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        return x


class Plain(Critic):
    def __init__(self) -> None:
        super().__init__("batch")
        self.spread = Spread()
        self.head = nn.Linear(7 * 2 * 2, 1)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.head(self.spread(self.features(x)).flatten(1))


class Projection(Critic):
    def __init__(self) -> None:
        super().__init__("spectral")
        self.head = nn.Module()
        self.head.linear = spectral_norm(nn.Linear(6 * 2 * 2, 1))
        self.head.embedding = spectral_norm(nn.Embedding(3, 6 * 2 * 2))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        phi = self.features(x).flatten(1)
        return self.head.linear(phi) + (self.head.embedding(label) * phi).sum(1, keepdim=True)


class Auxiliary(Critic):
    def __init__(self) -> None:
        super().__init__("layer")
        self.head = nn.Module()
        self.head.linear = nn.Linear(6 * 2 * 2, 1)
        self.head.classifier = nn.Linear(6 * 2 * 2, 3)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        phi = self.features(x).flatten(1)
        return torch.cat([self.head.linear(phi), self.head.classifier(phi)], 1)


def record(case: str, module: nn.Module, y, **inputs: torch.Tensor) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    module.eval()
    for name, value in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            put(f"{case}/weights.{name}", value)
    for name, value in inputs.items():
        put(f"{case}/{name}", nhwc(value) if value.ndim == 4 else value)
    put(f"{case}/y", y(module))


z = torch.randn(3, 5)
record("generator", Generator(), lambda m: nhwc(m(z)), z=z)
x, label = torch.randn(4, 2, 8, 8), torch.tensor([0, 2, 1, 2])
for case, module in {"plain": Plain(), "projection": Projection(), "auxiliary": Auxiliary()}.items():
    record(case, module, lambda m: m(x, label), x=x, label=label)

write(here, tensors, SEED)
