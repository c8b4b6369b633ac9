"""Records golden vectors from PyTorch for the operations of @figment/tensor: results, and the derivatives of
sum(result * cotangent) with respect to every float input.

Run `python3 ops.py`; it writes ops.safetensors beside itself. Images are channels-last [N,H,W,C], as Figment has them.
A case holds its inputs 0, 1, …, its results y0, y1, …, and, where it has derivatives, a cotangent dy of the first result
and d0, d1, …. Booleans and indices are written as i32.
"""

import pathlib

import torch
import torch.nn.functional as F

from golden_file import write

SEED = 20261
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}


def nchw(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def keep(key: str, value: torch.Tensor) -> None:
    value = value.detach()
    tensors[key] = value.to(torch.float32 if value.is_floating_point() else torch.int32).contiguous().clone()


def record(case: str, function, *inputs: torch.Tensor) -> None:
    """Inputs, results, and derivatives of the first result if it has any."""
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    results = function(*leaves)
    results = results if isinstance(results, (tuple, list)) else (results,)
    for i, x in enumerate(inputs):
        keep(f"{case}/{i}", x)
    for i, y in enumerate(results):
        keep(f"{case}/y{i}", y)
    if not results[0].requires_grad:
        return
    dy = torch.randn_like(results[0])
    keep(f"{case}/dy", dy)
    (results[0] * dy).sum().backward()
    for i, x in enumerate(leaves):
        if x.requires_grad:
            keep(f"{case}/d{i}", torch.zeros_like(x) if x.grad is None else x.grad)


def draw(*shape: int, lo: float = -2.0, hi: float = 2.0) -> torch.Tensor:
    return torch.empty(*shape).uniform_(lo, hi)


def distinct(*shape: int) -> torch.Tensor:
    """Numbers of which no two are near each other, in random order."""
    count = torch.Size(shape).numel()
    return (torch.randperm(count).float() - count / 2 + draw(count, lo=-0.2, hi=0.2)).reshape(shape) / 4


# One tensor, element by element: name, function, range
for name, function, lo, hi in [
    ("abs", torch.abs, -2, 2), ("ceil", torch.ceil, -3, 3), ("cos", torch.cos, -4, 4), ("erf", torch.erf, -2, 2),
    ("exp", torch.exp, -3, 3), ("expm1", torch.expm1, -1, 1), ("floor", torch.floor, -3, 3), ("log", torch.log, 0.1, 4),
    ("log1p", torch.log1p, -0.8, 3), ("neg", torch.neg, -2, 2), ("relu", torch.relu, -2, 2),
    ("round", torch.round, -3, 3), ("rsqrt", torch.rsqrt, 0.2, 4), ("sigmoid", torch.sigmoid, -5, 5),
    ("sign", torch.sign, -2, 2), ("silu", F.silu, -5, 5), ("sin", torch.sin, -4, 4), ("softplus", F.softplus, -5, 5),
    ("sqrt", torch.sqrt, 0.2, 4), ("square", torch.square, -2, 2), ("tanh", torch.tanh, -3, 3), ("elu", F.elu, -3, 3),
    ("gelu", F.gelu, -3, 3), ("gelu/tanh", lambda x: F.gelu(x, approximate="tanh"), -3, 3),
    ("leakyRelu", lambda x: F.leaky_relu(x, 0.2), -2, 2), ("clamp", lambda x: x.clamp(-0.5, 1), -2, 2),
]:
    record(name, function, draw(4, 5, lo=lo, hi=hi))

# Two tensors, broadcast
for name, function, lo, hi in [
    ("add", torch.add, -2, 2), ("sub", torch.sub, -2, 2), ("mul", torch.mul, -2, 2), ("div", torch.div, 0.5, 2),
    ("maximum", torch.maximum, -2, 2), ("minimum", torch.minimum, -2, 2), ("pow", torch.pow, 0.3, 2),
    ("rem", torch.fmod, 0.5, 3), ("eq", torch.eq, 0, 1), ("ne", torch.ne, 0, 1), ("lt", torch.lt, -2, 2),
    ("le", torch.le, -2, 2), ("gt", torch.gt, -2, 2), ("ge", torch.ge, -2, 2),
]:
    a, b = draw(3, 4, lo=lo, hi=hi), draw(4, lo=lo, hi=hi)
    if name in ("eq", "ne"):
        b[1] = a[0, 1]
    record(name, function, a, b)
record("lerp", torch.lerp, draw(3, 4), draw(3, 4), draw(3, 4))
truth = lambda *shape: torch.randint(0, 2, shape).int()
record("select", lambda c, a, b: torch.where(c.bool(), a, b), truth(3, 4), draw(3, 4), draw(4))
for name, function in [("logicalAnd", torch.logical_and), ("logicalOr", torch.logical_or), ("logicalXor", torch.logical_xor)]:
    record(name, function, truth(3, 5), truth(3, 5))
record("logicalNot", torch.logical_not, truth(3, 5))
odd = torch.tensor([1.0, float("nan"), float("inf"), -float("inf"), 0.0])
record("isNaN", torch.isnan, odd)
record("isFinite", torch.isfinite, odd)
record("cast", lambda x: x.to(torch.int32), draw(3, 4, lo=-9, hi=9))

# Reductions: over one axis, two, all
for axes, label in [((1,), "row"), ((0, 2), "two"), ((0, 1, 2), "all")]:
    for name, function in [
        ("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("min", torch.amin), ("logsumexp", torch.logsumexp),
        ("variance", lambda x, dim: torch.var(x, dim, correction=0)),
        ("std", lambda x, dim: torch.std(x, dim, correction=1)),
        ("norm", lambda x, dim: torch.linalg.vector_norm(x, dim=dim)),
    ]:
        record(f"{name}/{label}", lambda x: function(x, dim=axes), distinct(3, 4, 5))
record("prod", lambda x: torch.prod(x, 1), draw(3, 4, 2))
record("any", lambda x: torch.any(x.bool(), 1), truth(6, 3))
record("all", lambda x: torch.all(x.bool(), 1), truth(6, 2))

# Rows: places of extremes, orders, running sums, what indices pick; equal numbers keep their order
for axis in (0, 1):
    record(f"argmax/{axis}", lambda x: torch.argmax(x, axis), distinct(5, 7))
    record(f"argmin/{axis}", lambda x: torch.argmin(x, axis), distinct(5, 7))
    record(f"sort/up {axis}", lambda x: tuple(torch.sort(x, dim=axis, stable=True)), torch.randint(-3, 4, (6, 5)).float())
    record(f"sort/down {axis}", lambda x: tuple(torch.sort(x, dim=axis, descending=True, stable=True)), distinct(6, 5))
    record(f"argsort/{axis}", lambda x: torch.argsort(x, dim=axis, stable=True), distinct(6, 5))
    record(f"cumsum/{axis}", lambda x: torch.cumsum(x, axis), draw(6, 5))
    record(f"cumsum/reverse {axis}", lambda x: torch.flip(torch.cumsum(torch.flip(x, [axis]), axis), [axis]), draw(6, 5))
    record(f"cumsum/exclusive {axis}", lambda x: torch.cumsum(x, axis) - x, draw(6, 5))
    record(f"takeAlong/{axis}", lambda x, i: torch.gather(x, axis, i.long()), draw(4, 4), torch.randint(0, 4, (4, 4)))
    record(
        f"scatterAddAlong/{axis}",
        lambda x, i: torch.zeros((7, 4) if axis == 0 else (4, 7)).scatter_add(axis, i.long(), x),
        draw(4, 4), torch.randint(0, 7, (4, 4)),
    )
    record(f"gather/{axis}", lambda x, i: torch.index_select(x, axis, i.long()), draw(5, 6), torch.tensor([4, 0, 4]))
    record(
        f"scatterAdd/{axis}",
        lambda x, i: torch.zeros((7, 3) if axis == 0 else (3, 7)).index_add(axis, i.long(), x),
        draw(3, 3), torch.tensor([6, 2, 6]),
    )
record("topk/largest", lambda x: tuple(torch.topk(x, 3)), distinct(4, 9))
record("topk/smallest", lambda x: tuple(torch.topk(x, 2, largest=False)), distinct(4, 9))
record("softmax", lambda x: torch.softmax(x, -1), draw(4, 7, lo=-5, hi=5))
record("logSoftmax", lambda x: torch.log_softmax(x, -1), draw(4, 7, lo=-5, hi=5))
record("crossEntropy", lambda x, i: F.cross_entropy(x, i.long(), reduction="none"), draw(5, 6), torch.randint(0, 6, (5,)))

# Norms of rows and images, bias and activation
record("layerNorm", lambda x, w, b: F.layer_norm(x, [7], w, b), draw(4, 7), draw(7), draw(7))
record("rmsNorm", lambda x, w: F.rms_norm(x, [7], w, 1e-5), draw(4, 7), draw(7))
record("groupNorm", lambda x, w, b: nhwc(F.group_norm(nchw(x), 3, w, b)), draw(2, 3, 2, 6), draw(6), draw(6))
record("batchNorm", lambda x, w, b: nhwc(F.batch_norm(nchw(x), None, None, w, b, True)), draw(3, 2, 3, 4), draw(4), draw(4))
record(
    "batchNormWith",
    lambda x, w, b, m, v: nhwc(
        (nchw(x) - m[:, None, None]) * (v[:, None, None] + 1e-5).rsqrt() * w[:, None, None] + b[:, None, None]
    ),
    draw(3, 2, 3, 4), draw(4), draw(4), draw(4), draw(4, lo=0.3, hi=2),
)
record("biasAct", lambda x, b: (1.25 * F.leaky_relu(x + b, 0.2)).clamp(-1, 1), draw(5, 4), draw(4))

# Movement
record("reshape", lambda x: x.reshape(4, 6), draw(2, 3, 4))
record("transpose", lambda x: x.permute(2, 0, 1), draw(2, 3, 4))
record("broadcastTo", lambda x: x.expand(2, 3, 4), draw(3, 1))
record("concat", lambda a, b: torch.cat([a, b], 1), draw(2, 3), draw(2, 4))
record("stack", lambda a, b: torch.stack([a, b], 1), draw(2, 3), draw(2, 3))
record("split", lambda x: torch.split(x, [2, 1, 3], 1), draw(2, 6))
record("slice", lambda x: x[1:4:2, 2:5], draw(5, 6))
record("pad", lambda x: F.pad(x, (1, 0, 2, 3)), draw(2, 3))
record("flip", lambda x: torch.flip(x, [0, 2]), draw(2, 3, 4))
record("at", lambda x: x[1, 2], draw(2, 3, 4))
record("dynamicSlice", lambda x: x[1:3, 2:5], draw(4, 6))
record("dynamicUpdateSlice", lambda x, u: torch.slice_scatter(x, u, 0, 1, 3), draw(4, 3), draw(2, 3))
record("reflectPad", lambda x: nhwc(F.pad(nchw(x), (3, 1, 2, 0), mode="reflect")), draw(1, 4, 5, 2))
record("edgePad", lambda x: nhwc(F.pad(nchw(x), (3, 1, 2, 0), mode="replicate")), draw(1, 2, 3, 2))
record("pixelShuffle", lambda x: nhwc(F.pixel_shuffle(nchw(x), 2)), draw(1, 2, 3, 8))
record("pixelUnshuffle", lambda x: nhwc(F.pixel_unshuffle(nchw(x), 3)), draw(1, 6, 3, 2))

# Products
record("matmul/plain", torch.matmul, draw(4, 5), draw(5, 3))
record("matmul/batches", torch.matmul, draw(2, 1, 4, 5), draw(3, 5, 3))
record("matmul/transposed", lambda a, b: a.mT @ b.mT, draw(2, 5, 4), draw(2, 3, 5))
for i, (equation, shapes) in enumerate([
    ("ij,jk->ik", [(3, 4), (4, 2)]),
    ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
    ("bij,bjk,bk->bi", [(2, 3, 4), (2, 4, 5), (2, 5)]),
    ("ij->ji", [(3, 4)]),
    ("ii->i", [(4, 4)]),
    ("i,j->ij", [(3,), (4,)]),
]):
    record(f"einsum/{equation}", lambda *xs: torch.einsum(equation, *xs), *[draw(*shape) for shape in shapes])
image, kernel = draw(2, 5, 4, 3), draw(4, 3, 3, 3)
record("conv2d", lambda x, w, b: nhwc(F.conv2d(nchw(x), nchw(w), b, 2, 1)), image, kernel, draw(4))
record("conv2dInputGrad", lambda y, w: nhwc(F.conv_transpose2d(nchw(y), nchw(w), None, 2, 1)), draw(2, 3, 2, 4), kernel)


def weight_gradient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    w = torch.zeros(4, 3, 3, 3, requires_grad=True)
    out = nhwc(F.conv2d(nchw(x), nchw(w), None, 1, 1))
    return torch.autograd.grad((out * y).sum(), w, create_graph=True)[0]


record("conv2dWeightGrad", weight_gradient, image, draw(2, 5, 4, 4))


def heads(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2)


def attend(q, k, v, causal=False, scale=None):
    return heads(F.scaled_dot_product_attention(heads(q), heads(k), heads(v), is_causal=causal, scale=scale))


record("attention/full", attend, draw(2, 4, 2, 3), draw(2, 5, 2, 3), draw(2, 5, 2, 3))
record("attention/causal", lambda q, k, v: attend(q, k, v, True), *[draw(2, 5, 2, 3) for _ in range(3)])
record("attention/scale", lambda q, k, v: attend(q, k, v, scale=0.3), *[draw(2, 5, 2, 3) for _ in range(3)])


def with_past(q, past_k, past_v, k, v):
    """Three tokens of the past, then two new ones, each of which sees the past, itself and those before."""
    visible = torch.tensor([[True, True, True, True, False], [True, True, True, True, True]])
    keys, values = torch.cat([past_k[:, :3], k], 1), torch.cat([past_v[:, :3], v], 1)
    return heads(F.scaled_dot_product_attention(heads(q), heads(keys), heads(values), attn_mask=visible))


record("cachedAttention", with_past, draw(2, 2, 2, 3), draw(2, 6, 2, 3), draw(2, 6, 2, 3), draw(2, 2, 2, 3), draw(2, 2, 2, 3))

# Images
for name, size, aligned in [("grow", (7, 9), False), ("shrink", (2, 3), False), ("aligned", (6, 3), True)]:
    record(
        f"resizeBilinear/{name}",
        lambda x: nhwc(F.interpolate(nchw(x), size=size, mode="bilinear", align_corners=aligned)),
        draw(2, 4, 5, 3),
    )
record("resizeNearest", lambda x: nhwc(F.interpolate(nchw(x), size=(7, 3), mode="nearest")), draw(2, 4, 5, 3))
for name, kernel, stride, padding in [("half", 2, 2, 0), ("overlapping", 3, 2, 1), ("wide", (2, 3), (1, 2), (0, 1))]:
    record(f"maxPool/{name}", lambda x: nhwc(F.max_pool2d(nchw(x), kernel, stride, padding)), distinct(2, 6, 5, 3))
    record(f"avgPool/{name}", lambda x: nhwc(F.avg_pool2d(nchw(x), kernel, stride, padding)), draw(2, 6, 5, 3))


def upfirdn(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Zeros between pixels, two pixels around, convolution of each channel."""
    n, h, w, c = x.shape
    spread = x.new_zeros(n, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = nchw(x)
    return nhwc(F.conv2d(F.pad(spread, (2, 2, 2, 2)), taps.flip(0, 1)[None, None].expand(c, 1, -1, -1), groups=c))


record("upfirdn2d", upfirdn, draw(2, 3, 4, 2), draw(4, 3))
alpha, sigma = draw(10, lo=0.1, hi=1), draw(10, lo=0.1, hi=1)
record(
    "addNoise",
    lambda x, e, t, a, b: a[t.long()][:, None, None] * x + b[t.long()][:, None, None] * e,
    draw(3, 2, 4), draw(3, 2, 4), torch.tensor([9, 0, 4]), alpha, sigma,
)

# A sampler's step without noise: x0 = clamp(c0 x + c1 e), then c2 x0 + c4 x + c5 e
c = draw(12)
record(
    "samplerStep",
    lambda c, x, e: (c[2] * (c[0] * x + c[1] * e).clamp(-1, 1) + c[4] * x + c[5] * e).detach(),
    c, draw(3, 4), draw(3, 4),
)

# What updates of parameters sum
record("sumSquares", lambda a, b: a.detach().square().sum() + b.detach().square().sum(), draw(4, 5), draw(7))

write(here, tensors, SEED)
