"""Records penalties on derivatives from PyTorch, in float64: the gradient penalty of WGAN-GP (Gulrajani et al. 2017), R1
(Mescheder et al. 2018) and the path length regularisation of StyleGAN2 (Karras et al. 2020), each with its derivative
with respect to the parameters, through small networks of every kind of layer. What is differentiated is the sum of the
network's outputs, each weighted by noise: a plain sum of a softmax, for one, would have no slope.

Run `python3 penalties.py`; it writes penalties.safetensors beside itself. Images are channels-last [N,H,W,C], convolution
weights [O,kH,kW,I/groups], as Figment has them. Numbers are rounded to float32 when written, inputs before they are used.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20241
PATH_LENGTH_TARGET = 0.7
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}


def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
    """Numbers that float32 holds exactly."""
    return (scale * torch.randn(*shape)).float().double()


def nchw(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def conv(x, w, stride=1, padding=0, groups=1):
    """x [N,H,W,C], w [O,kH,kW,I/groups]."""
    return nhwc(F.conv2d(nchw(x), nchw(w), None, stride, padding, 1, groups))


def transposed(x, w, stride, padding):
    """x [N,H,W,O], w [O,kH,kW,C]: the input gradient of a convolution with that weight."""
    return nhwc(F.conv_transpose2d(nchw(x), nchw(w), None, stride, padding))


def upfirdn(x, f, up, down, lo, hi):
    """Zeros between pixels, zeros around, a convolution with the flipped filter, every down-th pixel."""
    n, h, w, c = x.shape
    wide = torch.zeros(n, h, up, w, up, c, dtype=x.dtype)
    wide[:, :, 0, :, 0, :] = x
    wide = F.pad(nchw(wide.reshape(n, h * up, w * up, c)), [lo, hi, lo, hi])
    kernel = f.flip([0, 1])[None, None].expand(c, 1, -1, -1)
    return nhwc(F.conv2d(wide, kernel, groups=c)[:, :, ::down, ::down])


def modulated(x, w, s):
    """Convolution with weights scaled per sample by s [N,I] and normalised per output (StyleGAN2, eq. 1 and 3)."""
    n, o, k = x.shape[0], w.shape[0], w.shape[1]
    ws = w[None] * s[:, None, None, None, :]
    ws = ws * torch.rsqrt(ws.square().sum([2, 3, 4], keepdim=True) + 1e-8)
    merged = nchw(x).reshape(1, -1, x.shape[1], x.shape[2])
    kernel = ws.permute(0, 1, 4, 2, 3).reshape(n * o, -1, k, k)
    y = F.conv2d(merged, kernel, padding=k // 2, groups=n)
    return nhwc(y.reshape(n, o, x.shape[1], x.shape[2]))


def group_norm(x, groups, g, b):
    return nhwc(F.group_norm(nchw(x), groups, g, b, 1e-5))


def attention(x, q, k, v, heads):
    """x [N,S,C], projections [C,C]."""
    n, s, c = x.shape
    split = lambda w: (x @ w.T).reshape(n, s, heads, c // heads).transpose(1, 2)
    # Written out: PyTorch's fused attention has no second derivative.
    y = F.softmax(split(q) @ split(k).transpose(2, 3) / (c // heads) ** 0.5, -1) @ split(v)
    return y.transpose(1, 2).reshape(n, s, c)


IMAGE = (2, 6, 6, 3)
# Name: shape of the input, parameters, network. Networks are curved everywhere, so that second derivatives are not zero.
networks = {
    "conv": (
        IMAGE,
        {"a": draw(4, 3, 3, 3, scale=0.3), "b": draw(4), "c": draw(5, 3, 3, 4, scale=0.3)},
        lambda x, p: torch.tanh(conv(F.leaky_relu(conv(x, p["a"], 1, 1) + p["b"], 0.2).sin(), p["c"], 2, 1)),
    ),
    "convTransposed": (
        IMAGE,
        {"a": draw(3, 4, 4, 4, scale=0.3), "c": draw(2, 3, 3, 4, scale=0.3)},
        lambda x, p: torch.tanh(conv(torch.tanh(transposed(x, p["a"], 2, 1)), p["c"], 1, 1)),
    ),
    "modulated": (
        IMAGE,
        {"w": draw(4, 3, 3, 3), "style": draw(3, 5), "latent": draw(2, 5)},
        lambda x, p: torch.tanh(modulated(torch.sin(x), p["w"], p["latent"] @ p["style"].T + 1)),
    ),
    "upfirdn": (
        IMAGE,
        {"a": draw(4, 3, 3, 3, scale=0.3), "f": draw(4, 4, scale=0.3)},
        lambda x, p: torch.tanh(
            upfirdn(torch.tanh(upfirdn(conv(x, p["a"], 1, 1), p["f"], 2, 1, 2, 1)), p["f"], 1, 2, 1, 1)
        ),
    ),
    "groupNorm": (
        IMAGE,
        {"a": draw(4, 3, 3, 3, scale=0.3), "g": draw(4), "b": draw(4)},
        lambda x, p: F.silu(group_norm(conv(x, p["a"], 1, 1), 2, p["g"], p["b"])),
    ),
    "instanceNorm": (
        IMAGE,
        {"a": draw(4, 3, 3, 3, scale=0.3), "g": draw(4), "b": draw(4)},
        lambda x, p: torch.tanh(group_norm(conv(x, p["a"], 1, 1), 4, p["g"], p["b"])),
    ),
    "batchNorm": (
        IMAGE,
        {"a": draw(4, 3, 3, 3, scale=0.3), "g": draw(4), "b": draw(4)},
        lambda x, p: torch.tanh(
            nhwc(F.batch_norm(nchw(conv(x, p["a"], 1, 1)), None, None, p["g"], p["b"], True, 0.1, 1e-5))
        ),
    ),
    "layerNorm": (
        (3, 7),
        {"a": draw(6, 7), "g": draw(6), "b": draw(6)},
        lambda x, p: torch.tanh(F.layer_norm(x @ p["a"].T, [6], p["g"], p["b"], 1e-5)),
    ),
    "rmsNorm": (
        (3, 7),
        {"a": draw(6, 7), "g": draw(6)},
        lambda x, p: torch.tanh(F.rms_norm(x @ p["a"].T, [6], p["g"], 1e-6)),
    ),
    "attention": (
        (2, 5, 8),
        {"q": draw(8, 8, scale=0.5), "k": draw(8, 8, scale=0.5), "v": draw(8, 8, scale=0.5)},
        lambda x, p: attention(x, p["q"], p["k"], p["v"], 2),
    ),
    "pooling": (
        IMAGE,
        {"a": draw(4, 3, 3, 3, scale=0.3)},
        lambda x, p: torch.tanh(nhwc(F.avg_pool2d(F.interpolate(nchw(torch.sin(conv(x, p["a"], 1, 1))), scale_factor=2), 3, 3))),
    ),
}
activations = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "elu": F.elu,
    "sin": torch.sin,
    "softmax": lambda x: F.softmax(x, -1),
    "logSoftmax": lambda x: F.log_softmax(x, -1),
}
for name, f in activations.items():
    networks[name] = (
        (3, 7),
        {"a": draw(6, 7, scale=0.4), "c": draw(5, 6, scale=0.4)},
        lambda x, p, f=f: f(f(x @ p["a"].T) @ p["c"].T),
    )


def slope(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(y, x, create_graph=True)[0]


def record(case: str, **values: torch.Tensor) -> None:
    for name, value in values.items():
        tensors[f"{case}/{name}"] = value.detach().float().contiguous().clone()


for name, (shape, parameters, network) in networks.items():
    parameters = {key: value.requires_grad_() for key, value in parameters.items()}
    real, fake, t = draw(*shape), draw(*shape), torch.rand(shape[0], *[1] * (len(shape) - 1)).float().double()
    with torch.no_grad():
        noise = torch.randn_like(network(real, parameters)).float().double()
    record(name, real=real, fake=fake, t=t, noise=noise, **{f"p.{key}": value for key, value in parameters.items()})
    mixed = (fake + t * (real - fake)).float().double().requires_grad_()
    point = real.clone().requires_grad_()
    rest = list(range(1, len(shape)))
    penalties = {
        "wganGp": (slope((network(mixed, parameters) * noise).sum(), mixed).square().sum(rest).sqrt() - 1).square().mean(),
        "r1": slope((network(point, parameters) * noise).sum(), point).square().sum(rest).mean() / 2,
        "pathLength": (
            slope((network(point, parameters) * noise).sum(), point).square().sum(rest).sqrt() - PATH_LENGTH_TARGET
        ).square().mean(),
    }
    record(name, mixed=mixed)
    for kind, value in penalties.items():
        derivatives = torch.autograd.grad(value, list(parameters.values()), retain_graph=True)
        record(f"{name}/{kind}", value=value, **{f"d.{key}": d for key, d in zip(parameters, derivatives)})

write(here, tensors, SEED)
