"""PyTorch models that test/interchange.test.ts exchanges weights with: one of each architecture of @figment/vae.

`python3 torch_models.py NAME weights.safetensors x.safetensors y.safetensors` loads such weights strictly into the model of
that name and writes what it reconstructs of x, in evaluation mode. Images are channels-first here.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
sys.path.append(str(pathlib.Path(__file__).parents[3] / "nn/test/golden"))
from golden_file import write
from torch_model import read


class Block(nn.Module):
    """A residual block without a time."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


def down(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:]))


def up(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:]))


class DenseNet(nn.Module):
    def __init__(self, widths: list[int], image: tuple[int, ...] | None = None):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.image = image

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.flatten(1)
        for layer in self.layers[:-1]:
            h = F.silu(layer(h))
        y = self.layers[-1](h)
        return y.unflatten(1, self.image) if self.image else y


class ConvEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = down([2, 8, 16])
        self.blocks = nn.ModuleList(nn.ModuleList([Block(width, 8)]) for width in (8, 16))
        self.dense = nn.Linear(16 * 2 * 2, 12)
        self.head = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, blocks in zip(self.down, self.blocks):
            x = blocks[0](F.silu(conv(x)))
        return self.head(F.silu(self.dense(x.flatten(1))))


class ConvDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 12)
        self.dense = nn.Linear(12, 16 * 2 * 2)
        self.blocks = nn.ModuleList(nn.ModuleList([Block(width, 8)]) for width in (16, 8))
        self.up = up([16, 8])
        self.last = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.dense(F.silu(self.first(z)))).unflatten(1, (16, 2, 2))
        h = self.blocks[0][0](h)
        h = self.blocks[1][0](F.silu(self.up[0](h)))
        return F.pixel_shuffle(self.last(h), 2)


class VAE(nn.Module):
    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, _ = self.encoder(x).chunk(2, 1)
        return torch.sigmoid(self.decoder(mean))


class CategoricalVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = DenseNet([128, 10, 12])
        self.decoder = DenseNet([12, 10, 128], (2, 8, 8))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        choice = self.encoder(x).unflatten(1, (3, 4)).argmax(-1)
        return torch.sigmoid(self.decoder(F.one_hot(choice, 4).flatten(1).float()))


class Perceptron(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)])
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = F.silu(self.layers[1](F.silu(self.layers[0](x))))
        return h, self.head(h)


class LadderVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ModuleList([Perceptron(128, 10, 8), Perceptron(10, 8, 4)])
        self.down = nn.ModuleList([Perceptron(2, 8, 8)])
        self.decoder = DenseNet([4, 10, 10, 128], (2, 8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, near = self.up[0](x.flatten(1))
        _, far = self.up[1](h)
        told_mean, told_log = near.chunk(2, 1)
        prior_mean, prior_log = self.down[0](far.chunk(2, 1)[0])[1].chunk(2, 1)
        told, prior = (-told_log.clamp(-12, 6)).exp(), (-prior_log.clamp(-12, 6)).exp()
        return torch.sigmoid(self.decoder((told_mean * told + prior_mean * prior) / (told + prior)))


class VqEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = down([2, 8, 16])
        self.blocks = nn.ModuleList([Block(16, 8)])
        self.norm = nn.GroupNorm(1, 16)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.blocks[0](self.down[1](F.silu(self.down[0](x))))
        return self.head(F.silu(self.norm(h)))


class VqDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 16, 3, padding=1)
        self.blocks = nn.ModuleList([Block(16, 8)])
        self.up = up([16, 8, 2])

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        h = self.blocks[0](self.first(codes))
        return self.up[1](F.silu(self.up[0](F.silu(h))))


class Codebook(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("embedding", torch.zeros(10, 4))
        self.register_buffer("counts", torch.zeros(10))
        self.register_buffer("sums", torch.zeros(10, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.permute(0, 2, 3, 1)
        return self.embedding[torch.cdist(rows.reshape(-1, 4), self.embedding).argmin(1)].reshape(rows.shape).permute(0, 3, 1, 2)


class VQVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = VqEncoder()
        self.codebook = Codebook()
        self.decoder = VqDecoder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.codebook(self.encoder(x))).clamp(-1, 1)


models = {
    "dense": lambda: VAE(DenseNet([128, 10, 6]), DenseNet([3, 10, 128], (2, 8, 8))),
    "convolutional": lambda: VAE(ConvEncoder(), ConvDecoder()),
    "categorical": CategoricalVAE,
    "ladder": LadderVAE,
    "vq": VQVAE,
}

if __name__ == "__main__":
    name, weights, x, y = sys.argv[1:]
    model = models[name]().eval()
    model.load_state_dict(read(pathlib.Path(weights)), strict=True)
    with torch.no_grad():
        result = model(read(pathlib.Path(x))["x"])
    script = pathlib.Path(y).with_suffix(".py")
    script.write_text("")
    write(script, {"y": result.contiguous()}, 0)
