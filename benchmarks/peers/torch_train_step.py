"""The peer for the training step: the U-Net of packages/diffusion (Ho et al. 2020, appendix B) in eager PyTorch.

Usage: torch_train_step.py CONFIG_JSON, with the model's options, batch, imageSize, threads and channelsLast.
Prints one line of JSON when ready; then, for each line `N` on standard input, runs N training steps and prints `done`.
A step is what ours is: draw timesteps and noise, q-sample, loss on v, backward, clipping, AdamW, moving average.
"""

import json
import math
import sys

import torch
from torch import nn
from torch.nn import functional as F


def norm_of(channels, groups):
    return nn.GroupNorm(math.gcd(channels, groups), channels)


class ResidualBlock(nn.Module):
    def __init__(self, channels, out, time_dim, dropout, groups):
        super().__init__()
        self.norm1 = norm_of(channels, groups)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.time = nn.Linear(time_dim, out)
        self.norm2 = norm_of(out, groups)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out, 1) if out != channels else nn.Identity()

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(F.silu(time))[:, :, None, None]
        return self.conv2(self.dropout(F.silu(self.norm2(h)))) + self.shortcut(x)


class SelfAttention(nn.Module):
    def __init__(self, channels, heads, groups):
        super().__init__()
        self.heads = heads
        self.norm = norm_of(channels, groups)
        self.query, self.key, self.value, self.output = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        split = lambda y: y.reshape(n, h * w, self.heads, c // self.heads).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(
            split(self.query(pixels)), split(self.key(pixels)), split(self.value(pixels))
        )
        joined = self.output(mixed.transpose(1, 2).reshape(n, h * w, c))
        return joined.transpose(1, 2).reshape(n, c, h, w) + x


class Stage(nn.Module):
    def __init__(self, channels, out, time_dim, dropout, heads, groups):
        super().__init__()
        self.block = ResidualBlock(channels, out, time_dim, dropout, groups)
        self.attention = SelfAttention(out, heads, groups) if heads else nn.Identity()

    def forward(self, x, time):
        return self.attention(self.block(x, time))


class UNet(nn.Module):
    def __init__(
        self, inChannels, channels, imageSize, blocks=1, attention=(), heads=1, dropout=0.0, patch=1, classes=0, groups=8
    ):
        super().__init__()
        self.patch = patch
        base, deepest = channels[0], channels[-1]
        self.frequency_dim = base
        time_dim = 4 * base
        sizes = [math.ceil(imageSize / patch / 2**level) for level in range(len(channels))]
        stage = lambda a, b, level: Stage(a, b, time_dim, dropout, heads if sizes[level] in attention else 0, groups)
        self.time = nn.Sequential(nn.Linear(base, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim))
        self.label = nn.Embedding(classes, time_dim) if classes else None
        self.first = nn.Conv2d(inChannels * patch**2, base, 3, padding=1)
        self.down, self.downsample, skips, width = nn.ModuleList(), nn.ModuleList(), [base], base
        for level, to in enumerate(channels):
            stages = nn.ModuleList()
            for _ in range(blocks):
                stages.append(stage(width, to, level))
                width = to
                skips.append(to)
            self.down.append(stages)
            if level < len(channels) - 1:
                self.downsample.append(nn.Conv2d(to, to, 3, stride=2, padding=1))
                skips.append(to)
        self.inner = Stage(deepest, deepest, time_dim, dropout, heads if attention else 0, groups)
        self.outer = ResidualBlock(deepest, deepest, time_dim, dropout, groups)
        self.up, self.upsample = nn.ModuleList(), nn.ModuleList()
        for level, to in reversed(list(enumerate(channels))):
            stages = nn.ModuleList()
            for _ in range(blocks + 1):
                stages.append(stage(width + skips.pop(), to, level))
                width = to
            self.up.append(stages)
            if level > 0:
                self.upsample.append(nn.Conv2d(to, to, 3, padding=1))
        self.norm = norm_of(base, groups)
        self.last = nn.Conv2d(base, inChannels * patch**2, 3, padding=1)

    def forward(self, x, t, label=None):
        half = self.frequency_dim // 2
        angles = t[:, None] * 10_000 ** (-torch.arange(half, device=t.device) / (half - 1))
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        if self.label is not None:
            time = time + self.label(label)
        h = self.first(F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x)
        skips = [h]
        for level, stages in enumerate(self.down):
            for stage in stages:
                h = stage(h, time)
                skips.append(h)
            if level < len(self.downsample):
                h = self.downsample[level](h)
                skips.append(h)
        h = self.outer(self.inner(h, time), time)
        for level, stages in enumerate(self.up):
            for stage in stages:
                h = stage(torch.cat([h, skips.pop()], 1), time)
            if level < len(self.upsample):
                h = self.upsample[level](F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        out = self.last(F.silu(self.norm(h)))
        return F.pixel_shuffle(out, self.patch) if self.patch > 1 else out


def main():
    config = json.loads(sys.argv[1])
    torch.set_num_threads(config["threads"])
    torch.manual_seed(0)
    batch, size = config["batch"], config["model"]["imageSize"]
    layout = torch.channels_last if config["channelsLast"] else torch.contiguous_format
    model = UNet(**config["model"]).to(memory_format=layout)
    parameters = list(model.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=config["learningRate"], fused=True)
    steps = config["timesteps"]
    alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, steps), 0)
    signal, spread = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    classes = config["model"].get("classes", 0)
    labels = torch.arange(batch) % classes if classes else None
    images = (torch.rand(batch, config["model"]["inChannels"], size, size) * 2 - 1).to(memory_format=layout)

    def step():
        t = torch.randint(0, steps, (batch,))
        noise = torch.randn_like(images)
        a, b = signal[t][:, None, None, None], spread[t][:, None, None, None]
        loss = F.mse_loss(model(a * images + b * noise, t, labels), a * noise - b * images)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config["clipNorm"])
        optimizer.step()
        torch._foreach_lerp_(average, parameters, 1 - config["emaDecay"])

    ready = {"version": torch.__version__, "parameters": sum(p.numel() for p in parameters)}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            step()
        print("done", flush=True)


if __name__ == "__main__":
    main()
