"""Records golden vectors from PyTorch for the layers of @figment/nn that are made of others: attention to a context,
transformers, the blocks of a U-Net, timestep embeddings, resampling with a convolution, dropout.

Run `python3 blocks.py`; it writes blocks.safetensors beside itself. Images are channels-last [N,H,W,C], convolution
weights [O,kH,kW,I], as Figment has them; weights carry the paths that Figment's modules give them. Derivatives are those
of sum(output * cotangent).
"""

import math
import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20251
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}
Weights = dict[str, torch.Tensor]


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def nchw(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).requires_grad_()


def weight(*shape: int) -> torch.Tensor:
    """Weights that keep the size of what they are applied to; the last axes are summed over."""
    return (torch.randn(*shape) / math.sqrt(math.prod(shape[1:]))).requires_grad_()


def linear_weights(path: str, n_in: int, n_out: int, bias: bool = True) -> Weights:
    return {f"{path}.weight": weight(n_out, n_in), **({f"{path}.bias": leaf(n_out)} if bias else {})}


def norm_weights(path: str, channels: int) -> Weights:
    return {f"{path}.weight": leaf(channels), f"{path}.bias": leaf(channels)}


def conv_weights(path: str, n_in: int, n_out: int, kernel: int = 3) -> Weights:
    return {f"{path}.weight": weight(n_out, kernel, kernel, n_in), f"{path}.bias": leaf(n_out)}


def attention_weights(path: str, dim: int, context: int | None = None) -> Weights:
    context = context or dim
    return {
        **linear_weights(f"{path}query", dim, dim),
        **linear_weights(f"{path}key", context, dim),
        **linear_weights(f"{path}value", context, dim),
        **linear_weights(f"{path}output", dim, dim),
    }


def block_weights(path: str, dim: int, hidden: int, context: int | None = None) -> Weights:
    return {
        **norm_weights(f"{path}attentionNorm", dim),
        **attention_weights(f"{path}attention.", dim),
        **(norm_weights(f"{path}contextNorm", dim) if context else {}),
        **(attention_weights(f"{path}contextAttention.", dim, context) if context else {}),
        **norm_weights(f"{path}mlpNorm", dim),
        **linear_weights(f"{path}mlp.0", dim, hidden),
        **linear_weights(f"{path}mlp.1", hidden, dim),
    }


def linear(w: Weights, path: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, w[f"{path}.weight"], w.get(f"{path}.bias"))


def layer_norm(w: Weights, path: str, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, [x.shape[-1]], w[f"{path}.weight"], w[f"{path}.bias"], 1e-5)


def group_norm(w: Weights, path: str, groups: int, x: torch.Tensor) -> torch.Tensor:
    return nhwc(F.group_norm(nchw(x), groups, w[f"{path}.weight"], w[f"{path}.bias"], 1e-5))


def conv(w: Weights, path: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    kernel = nchw(w[f"{path}.weight"])
    return nhwc(F.conv2d(nchw(x), kernel, w[f"{path}.bias"], stride, kernel.shape[-1] // 2))


def attend(w: Weights, path: str, heads: int, x: torch.Tensor, context: torch.Tensor, causal: bool = False) -> torch.Tensor:
    def split(part: str, y: torch.Tensor) -> torch.Tensor:
        return linear(w, f"{path}{part}", y).unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = split("query", x), split("key", context), split("value", context)
    joined = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)
    return linear(w, f"{path}output", joined)


def block(w: Weights, path: str, heads: int, x: torch.Tensor, context: torch.Tensor | None = None, causal: bool = False):
    normed = layer_norm(w, f"{path}attentionNorm", x)
    x = x + attend(w, f"{path}attention.", heads, normed, normed, causal)
    if context is not None:
        normed = layer_norm(w, f"{path}contextNorm", x)
        x = x + attend(w, f"{path}contextAttention.", heads, normed, context)
    widened = F.gelu(linear(w, f"{path}mlp.0", layer_norm(w, f"{path}mlpNorm", x)))
    return x + linear(w, f"{path}mlp.1", widened)


def keep(key: str, value: torch.Tensor) -> None:
    value = value.detach()
    kind = torch.int32 if value.dtype in (torch.int64, torch.int32) else torch.float32
    tensors[key] = value.to(kind).contiguous().clone()


def record(case: str, function, inputs: Weights, w: Weights | None = None) -> None:
    """Inputs, weights, result, cotangent, and the derivatives of all that is not an integer."""
    w = w or {}
    y = function(*inputs.values(), w) if w else function(*inputs.values())
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    for name, value in {**inputs, **w}.items():
        keep(f"{case}/{name}", value)
        if value.grad is not None:
            keep(f"{case}/d{name}", value.grad)
    keep(f"{case}/y", y)
    keep(f"{case}/dy", dy)


# Attention to a context of other channels
record(
    "crossAttention",
    lambda x, context, w: attend(w, "", 3, x, context),
    {"x": leaf(2, 5, 12), "context": leaf(2, 4, 8)},
    attention_weights("", 12, 8),
)

# Blocks of a transformer: all positions, those before, a context too
record(
    "transformerBlock/self", lambda x, w: block(w, "", 3, x), {"x": leaf(2, 5, 12)}, block_weights("", 12, 48),
)
record(
    "transformerBlock/causal",
    lambda x, w: block(w, "", 2, x, causal=True),
    {"x": leaf(2, 5, 12)},
    block_weights("", 12, 20),
)
record(
    "transformerBlock/context",
    lambda x, context, w: block(w, "", 3, x, context),
    {"x": leaf(2, 5, 12), "context": leaf(2, 3, 7)},
    block_weights("", 12, 16, 7),
)

# The same block as PyTorch's own encoder layer, which shows that the functions above are those of Vaswani et al.
module = torch.nn.TransformerEncoderLayer(12, 3, 16, 0.0, F.gelu, batch_first=True, norm_first=True)
for parameter in module.parameters():
    torch.nn.init.normal_(parameter, std=0.3)
parts = module.state_dict(keep_vars=True)
w = {
    **{f"attentionNorm.{kind}": parts[f"norm1.{kind}"] for kind in ("weight", "bias")},
    **{f"mlpNorm.{kind}": parts[f"norm2.{kind}"] for kind in ("weight", "bias")},
    **{f"mlp.{i}.{kind}": parts[f"linear{i + 1}.{kind}"] for i in (0, 1) for kind in ("weight", "bias")},
    **{f"attention.output.{kind}": parts[f"self_attn.out_proj.{kind}"] for kind in ("weight", "bias")},
}
x = leaf(2, 5, 12)
y = module(x)
dy = torch.randn_like(y)
(y * dy).sum().backward()
for name, value in {"x": x, **w}.items():
    keep(f"transformerBlock/module/{name}", value)
    keep(f"transformerBlock/module/d{name}", value.grad)
for i, part in enumerate(["query", "key", "value"]):
    for kind in ("weight", "bias"):
        joined = parts[f"self_attn.in_proj_{kind}"]
        rows = slice(12 * i, 12 * (i + 1))
        keep(f"transformerBlock/module/attention.{part}.{kind}", joined[rows])
        keep(f"transformerBlock/module/dattention.{part}.{kind}", joined.grad[rows])
keep("transformerBlock/module/y", y)
keep("transformerBlock/module/dy", dy)


# A decoder of tokens; its logits are what decoding with a cache has to give too
def transformer(tokens: torch.Tensor, w: Weights) -> torch.Tensor:
    h = F.embedding(tokens, w["tokens.weight"]) + w["positions.weight"][: tokens.shape[1]]
    for i in range(2):
        h = block(w, f"blocks.{i}.", 3, h, causal=True)
    return linear(w, "head", layer_norm(w, "norm", h))


record(
    "transformer",
    transformer,
    {"tokens": torch.randint(0, 11, (2, 6))},
    {
        "tokens.weight": leaf(11, 12),
        "positions.weight": leaf(8, 12),
        **block_weights("blocks.0.", 12, 16),
        **block_weights("blocks.1.", 12, 16),
        **norm_weights("norm", 12),
        **linear_weights("head", 12, 11, bias=False),
    },
)


# Attention over pixels
def pixel_attention(x: torch.Tensor, w: Weights) -> torch.Tensor:
    pixels = group_norm(w, "norm", 4, x).flatten(1, 2)
    return x + attend(w, "attention.", 2, pixels, pixels).unflatten(1, x.shape[1:3])


record(
    "selfAttention2d",
    pixel_attention,
    {"x": leaf(2, 3, 4, 12)},
    {**norm_weights("norm", 12), **attention_weights("attention.", 12)},
)


# Sinusoids of the timestep, and the network on top of them
def sinusoids(t: torch.Tensor, dim: int) -> torch.Tensor:
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / (half - 1))
    angles = t.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1).float()


t = torch.tensor([0, 1, 17, 500, 999])
keep("sinusoids/t", t)
keep("sinusoids/y", sinusoids(t, 10))
record(
    "timestepEmbedding",
    lambda t, w: linear(w, "second", F.silu(linear(w, "first", sinusoids(t, 8)))),
    {"t": t},
    {**linear_weights("first", 8, 12), **linear_weights("second", 12, 12)},
)


# Residual blocks: plain, told the time by an added vector, by scale and shift
def residual(x: torch.Tensor, condition: torch.Tensor | None, w: Weights, scale_shift: bool = False) -> torch.Tensor:
    h = conv(w, "conv1", F.silu(group_norm(w, "norm1", 4, x)))
    if condition is not None:
        vector = linear(w, "time", F.silu(condition))[:, None, None]
        if scale_shift:
            scale, shift = vector.chunk(2, -1)
            h = F.silu(group_norm(w, "norm2", 4, h) * (1 + scale) + shift)
        else:
            h = F.silu(group_norm(w, "norm2", 4, h + vector))
    else:
        h = F.silu(group_norm(w, "norm2", 4, h))
    return conv(w, "conv2", h) + (conv(w, "shortcut", x) if "shortcut.weight" in w else x)


def residual_weights(n_in: int, n_out: int, time: int = 0) -> Weights:
    return {
        **norm_weights("norm1", n_in),
        **conv_weights("conv1", n_in, n_out),
        **(linear_weights("time", 6, time) if time else {}),
        **norm_weights("norm2", n_out),
        **conv_weights("conv2", n_out, n_out),
        **(conv_weights("shortcut", n_in, n_out, 1) if n_in != n_out else {}),
    }


record(
    "residualBlock/plain",
    lambda x, w: residual(x, None, w),
    {"x": leaf(2, 4, 3, 8)},
    residual_weights(8, 8),
)
record(
    "residualBlock/time", residual, {"x": leaf(2, 4, 3, 8), "condition": leaf(2, 6)}, residual_weights(8, 12, 12),
)
record(
    "residualBlock/scaleShift",
    lambda x, condition, w: residual(x, condition, w, True),
    {"x": leaf(2, 4, 3, 8), "condition": leaf(2, 6)},
    residual_weights(8, 8, 16),
)

# Resampling with a convolution, and layers in a row
record("downsample", lambda x, w: conv(w, "conv", x, 2), {"x": leaf(2, 5, 6, 4)}, conv_weights("conv", 4, 6))
for name, size in [("double", (6, 8)), ("sized", (7, 5))]:
    record(
        f"upsample/{name}",
        lambda x, w: conv(w, "conv", nhwc(F.interpolate(nchw(x), size=size, mode="nearest"))),
        {"x": leaf(2, 3, 4, 4)},
        conv_weights("conv", 4, 3),
    )
record(
    "sequential",
    lambda x, w: linear(w, "stages.2", F.silu(linear(w, "stages.0", x))),
    {"x": leaf(4, 5)},
    {**linear_weights("stages.0", 5, 7), **linear_weights("stages.2", 7, 3)},
)

# Dropout: what an element becomes, and its derivative, where it is kept; draws are repeated until each was
x, dy = leaf(6, 7), torch.randn(6, 7)
kept, slope = torch.zeros(6, 7), torch.zeros(6, 7)
for _ in range(64):
    x.grad = None
    y = F.dropout(x, 0.3)
    (y * dy).sum().backward()
    kept, slope = torch.where(y != 0, y, kept), torch.where(y != 0, x.grad, slope)
for key, value in {"x": x, "dy": dy, "y": kept, "dx": slope}.items():
    keep(f"dropout/{key}", value)

write(here, tensors, SEED)
