"""The U-Net of Stable Diffusion (Rombach et al. 2022) in plain PyTorch, for the models' benchmark. Parameters have the names
that diffusers' UNet2DConditionModel gives them, so that its files of weights fit."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Resnet(nn.Module):
    def __init__(self, channels, out, time_dim, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_dim, out)
        self.norm2 = nn.GroupNorm(groups, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, out, 1) if out != channels else None

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    def __init__(self, dim, context_dim, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, x, context):
        split = lambda y: y.unflatten(2, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(
            split(self.to_q(x)), split(self.to_k(context)), split(self.to_v(context))
        )
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class GatedGelu(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * hidden)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.ModuleList([GatedGelu(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim)])

    def forward(self, x):
        for layer in self.net:
            x = layer(x)
        return x


class Block(nn.Module):
    def __init__(self, dim, context_dim, heads):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn1 = Attention(dim, dim, heads)
        self.attn2 = Attention(dim, context_dim, heads)
        self.ff = FeedForward(dim)

    def forward(self, x, context):
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self, channels, context_dim, heads, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([Block(channels, context_dim, heads)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x, context):
        h = self.proj_in(self.norm(x))
        rows = h.flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            rows = block(rows, context)
        return self.proj_out(rows.transpose(1, 2).unflatten(2, x.shape[2:])) + x


class Resample(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)

    def forward(self, x):
        return self.conv(x)


class Level(nn.Module):
    """Residual blocks, a transformer after each where there are some, and the change of resolution."""

    def __init__(self, widths, out, attends, resample, make_resnet, make_transformer):
        super().__init__()
        self.resnets = nn.ModuleList([make_resnet(width, out) for width in widths])
        if attends:
            self.attentions = nn.ModuleList([make_transformer(out) for _ in widths])
        self.attends = attends
        if resample:
            setattr(self, resample, nn.ModuleList([Resample(out, 2 if resample == "downsamplers" else 1)]))

    def stage(self, i, x, time, context):
        x = self.resnets[i](x, time)
        return self.attentions[i](x, context) if self.attends else x


class TimeEmbedding(nn.Module):
    def __init__(self, base, dim):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(base, dim), nn.Linear(dim, dim)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class StableUNet(nn.Module):
    def __init__(self, channels, blocks, heads, contextDim, groups):
        super().__init__()
        base, deepest = channels[0], channels[-1]
        self.base = base
        self.time_embedding = TimeEmbedding(base, 4 * base)
        resnet = lambda width, out: Resnet(width, out, 4 * base, groups)
        transformer = lambda width: SpatialTransformer(width, contextDim, heads, groups)
        self.conv_in = nn.Conv2d(4, base, 3, padding=1)
        last = len(channels) - 1
        skips, width = [base], base
        self.down_blocks = nn.ModuleList()
        for level, out in enumerate(channels):
            widths = [width] + [out] * (blocks - 1)
            down = "downsamplers" if level < last else None
            self.down_blocks.append(Level(widths, out, level < last, down, resnet, transformer))
            skips += [out] * (blocks + (level < last))
            width = out
        self.mid_block = nn.Module()
        self.mid_block.resnets = nn.ModuleList([resnet(deepest, deepest), resnet(deepest, deepest)])
        self.mid_block.attentions = nn.ModuleList([transformer(deepest)])
        self.up_blocks = nn.ModuleList()
        for level, out in reversed(list(enumerate(channels))):
            widths = []
            for _ in range(blocks + 1):
                widths.append(width + skips.pop())
                width = out
            up = "upsamplers" if level > 0 else None
            self.up_blocks.append(Level(widths, out, level < last, up, resnet, transformer))
        self.conv_norm_out = nn.GroupNorm(groups, base)
        self.conv_out = nn.Conv2d(base, 4, 3, padding=1)

    def forward(self, x, t, context):
        half = self.base // 2
        angles = t[:, None] * torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
        time = self.time_embedding(torch.cat([angles.cos(), angles.sin()], 1).to(x.dtype))
        h = self.conv_in(x)
        skips = [h]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                h = level.stage(i, h, time, context)
                skips.append(h)
            if hasattr(level, "downsamplers"):
                h = level.downsamplers[0](h)
                skips.append(h)
        h = self.mid_block.resnets[0](h, time)
        h = self.mid_block.resnets[1](self.mid_block.attentions[0](h, context), time)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                h = level.stage(i, torch.cat([h, skips.pop()], 1), time, context)
            if hasattr(level, "upsamplers"):
                h = level.upsamplers[0](F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        return self.conv_out(F.silu(self.conv_norm_out(h)))
