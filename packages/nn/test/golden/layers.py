"""Records golden vectors from PyTorch for the tests of @figment/nn.

Run `python3 layers.py`; it writes layers.safetensors beside itself. Images are written channels-last [N,H,W,C] and
convolution weights as [O,kH,kW,I/groups], as Figment has them. Every tensor is float32 or int32. Derivatives
are those of sum(output * cotangent).
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20231
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}


def nhwc(x: torch.Tensor) -> torch.Tensor:
    """Channels-first to channels-last; for weights [O,I,kH,kW] to [O,kH,kW,I]."""
    return x.permute(0, 2, 3, 1)


def record(case: str, **values: torch.Tensor) -> None:
    for name, value in values.items():
        value = value.detach()
        tensors[f"{case}/{name}"] = value.to(torch.int32 if value.dtype == torch.int64 else torch.float32).contiguous().clone()


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).requires_grad_()


# Linear
x, w, b, dy = leaf(5, 7), leaf(3, 7), leaf(3), torch.randn(5, 3)
y = F.linear(x, w, b)
(y * dy).sum().backward()
record("linear", x=x, weight=w, bias=b, y=y, dy=dy, dx=x.grad, dweight=w.grad, dbias=b.grad)

# Conv2d: name, input [N,H,W,C], out, kernel, stride, padding, dilation, groups
for name, (n, h, width, c), out, kernel, stride, padding, dilation, groups in [
    ("same", (2, 7, 6, 5), 4, 3, 1, 1, 1, 1),
    ("stride", (2, 9, 8, 3), 6, 3, 2, 1, 1, 1),
    ("valid", (1, 6, 7, 4), 5, 2, 1, 0, 1, 1),
    ("dilated", (1, 9, 9, 2), 3, 3, 1, 2, 2, 1),
    ("grouped", (2, 5, 5, 6), 4, 3, 1, 1, 1, 2),
    ("depthwise", (1, 6, 6, 8), 8, 3, 2, 1, 1, 8),
    ("pointwise", (2, 4, 5, 7), 9, 1, 1, 0, 1, 1),
]:
    x, w, b = leaf(n, c, h, width), leaf(out, c // groups, kernel, kernel), leaf(out)
    y = F.conv2d(x, w, b, stride, padding, dilation, groups)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(
        f"conv2d/{name}",
        x=nhwc(x), weight=nhwc(w), bias=b, y=nhwc(y), dy=nhwc(dy),
        dx=nhwc(x.grad), dweight=nhwc(w.grad), dbias=b.grad,
        geometry=torch.tensor([kernel, stride, padding, dilation, groups]),
    )

# GroupNorm, plain and followed by SiLU
for name, silu in [("plain", False), ("silu", True)]:
    x, w, b = leaf(2, 12, 5, 3), leaf(12), leaf(12)
    y = F.group_norm(x, 4, w, b, 1e-5)
    y = F.silu(y) if silu else y
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(
        f"groupNorm/{name}",
        x=nhwc(x), weight=w, bias=b, y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad), dweight=w.grad, dbias=b.grad,
    )

# LayerNorm, RMSNorm, InstanceNorm: forward and backward
x, w, b = leaf(3, 5, 12), leaf(12), leaf(12)
y = F.layer_norm(x, [12], w, b, 1e-5)
dy = torch.randn_like(y)
(y * dy).sum().backward()
record("layerNorm", x=x, weight=w, bias=b, y=y, dy=dy, dx=x.grad, dweight=w.grad, dbias=b.grad)
x, w = leaf(3, 5, 12), leaf(12)
y = F.rms_norm(x, [12], w, 1e-5)
dy = torch.randn_like(y)
(y * dy).sum().backward()
record("rmsNorm", x=x, weight=w, y=y, dy=dy, dx=x.grad, dweight=w.grad)
x, w, b = leaf(2, 6, 5, 3), leaf(6), leaf(6)
y = F.instance_norm(x, weight=w, bias=b, eps=1e-5)
dy = torch.randn_like(y)
(y * dy).sum().backward()
record("instanceNorm", x=nhwc(x), weight=w, bias=b, y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad), dweight=w.grad, dbias=b.grad)

# BatchNorm: three training steps, each forward and backward, with the running statistics after them; then evaluation
module = torch.nn.BatchNorm2d(6, eps=1e-4, momentum=0.3)
torch.nn.init.normal_(module.weight)
torch.nn.init.normal_(module.bias)
record("batchNorm/start", weight=module.weight, bias=module.bias)
for step in range(3):
    x = (2 * torch.randn(3, 6, 4, 5) + step).requires_grad_()
    y = module(x)
    dy = torch.randn_like(y)
    module.zero_grad()
    (y * dy).sum().backward()
    record(
        f"batchNorm/step{step}",
        x=nhwc(x), y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad), dweight=module.weight.grad, dbias=module.bias.grad,
    )
module.eval()
module.zero_grad()
x = leaf(2, 6, 3, 3)
y = module(x)
dy = torch.randn_like(y)
(y * dy).sum().backward()
record(
    "batchNorm/eval",
    x=nhwc(x), y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad), dweight=module.weight.grad, dbias=module.bias.grad,
    runningMean=module.running_mean, runningVar=module.running_var,
)

# Spectral normalisation of Linear, Conv2d and ConvTranspose2d: three training calls, the last differentiated; then
# evaluation. The right vector of Conv2d is that of the weight's columns as we order them.
for name, inner, shape in [
    ("linear", torch.nn.Linear(7, 5), (4, 7)),
    ("conv2d", torch.nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 6)),
    ("convTranspose2d", torch.nn.ConvTranspose2d(3, 4, 3, padding=1), (2, 3, 5, 6)),
]:
    image = len(shape) == 4
    module = torch.nn.utils.parametrizations.spectral_norm(inner)
    power = module.parametrizations.weight[0]
    original = module.parametrizations.weight.original

    def right() -> torch.Tensor:
        ordered = name == "conv2d"
        return nhwc(power._v.reshape(1, *original.shape[1:])).reshape(-1) if ordered else power._v

    def last(value: torch.Tensor) -> torch.Tensor:
        return nhwc(value) if image else value

    record(f"spectralNorm/{name}/start", weight=last(original), bias=module.bias, u=power._u, v=right())
    for step in range(3):
        x = leaf(*shape)
        module.zero_grad()
        y = module(x)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(
        f"spectralNorm/{name}/train",
        x=last(x), y=last(y), dy=last(dy), dx=last(x.grad), dweight=last(original.grad), dbias=module.bias.grad,
        u=power._u, v=right(),
    )
    module.eval()
    with torch.no_grad():
        original += 0.1 * torch.randn_like(original)
        x = torch.randn(*shape)
        record(f"spectralNorm/{name}/eval", weight=last(original), x=last(x), y=last(module(x)))

# Gradient penalties, the squared norm of the derivative of sum(output * cotangent), and their derivatives: second
# derivatives of norms and activations
def record_penalty(case: str, function, x: torch.Tensor, **weights: torch.Tensor) -> None:
    y = function(x, *weights.values())
    dy = torch.randn_like(y)
    (slope,) = torch.autograd.grad((y * dy).sum(), x, create_graph=True)
    value = slope.square().sum()
    # A bias has no part in it where it only shifts.
    gradients = torch.autograd.grad(value, [x, *weights.values()], allow_unused=True)
    dx, *rest = [torch.zeros_like(w) if g is None else g for g, w in zip(gradients, [x, *weights.values()])]
    layout = nhwc if x.dim() == 4 else lambda value: value
    record(
        f"normPenalty/{case}",
        x=layout(x), dy=layout(dy), value=value, dx=layout(dx),
        **weights, **{f"d{name}": g for name, g in zip(weights, rest)},
    )


for case, function, shape, affine in [
    ("layerNorm", lambda x, w, b: F.layer_norm(x, [7], w, b), (3, 2, 7), 2),
    ("rmsNorm", lambda x, w: F.rms_norm(x, [7], w, 1e-5), (3, 2, 7), 1),
    ("batchNorm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (3, 4, 2, 3), 2),
    ("instanceNorm", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), (2, 4, 3, 3), 2),
    ("groupNorm", lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 3, 2), 2),
    ("groupNormSilu", lambda x, w, b: F.silu(F.group_norm(x, 2, w, b)), (2, 4, 3, 2), 2),
]:
    channels = shape[1] if len(shape) == 4 else shape[-1]
    record_penalty(case, function, leaf(*shape), **{name: leaf(channels) for name in ["weight", "bias"][:affine]})
for case, function in [
    ("leakyRelu", lambda u: F.leaky_relu(u, 0.2)),
    ("silu", F.silu),
    ("gelu", F.gelu),
    ("tanh", torch.tanh),
    ("sigmoid", torch.sigmoid),
]:
    record_penalty(f"biasAct {case}", lambda x, b: (1.25 * function(x + b)).clamp(-2, 2), leaf(5, 6), bias=leaf(6))

# Embedding, with repeated indices
w, indices = leaf(11, 6), torch.tensor([[3, 0, 3], [10, 7, 3]])
y = F.embedding(indices, w)
dy = torch.randn_like(y)
(y * dy).sum().backward()
record("embedding", weight=w, indices=indices, y=y, dy=dy, dweight=w.grad)

# Multi-head attention, self and causal
for name, causal in [("full", False), ("causal", True)]:
    module = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    torch.nn.init.normal_(module.in_proj_bias)
    torch.nn.init.normal_(module.out_proj.bias)
    x = leaf(2, 5, 12)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    y, _ = module(x, x, x, need_weights=False, attn_mask=mask, is_causal=causal)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    values = {}
    for i, part in enumerate(["query", "key", "value"]):
        rows = slice(12 * i, 12 * (i + 1))
        values[f"{part}.weight"] = module.in_proj_weight[rows]
        values[f"{part}.bias"] = module.in_proj_bias[rows]
        values[f"d{part}.weight"] = module.in_proj_weight.grad[rows]
        values[f"d{part}.bias"] = module.in_proj_bias.grad[rows]
    values["output.weight"], values["output.bias"] = module.out_proj.weight, module.out_proj.bias
    values["doutput.weight"], values["doutput.bias"] = module.out_proj.weight.grad, module.out_proj.bias.grad
    record(f"attention/{name}", x=x, y=y, dy=dy, dx=x.grad, **values)

# Losses (means)
logits, labels = leaf(6, 9), torch.randint(0, 9, (6,))
loss = F.cross_entropy(logits, labels)
loss.backward()
record("loss/crossEntropy", x=logits, target=labels, y=loss, dx=logits.grad)
for name, function, target in [
    ("mse", F.mse_loss, torch.randn(4, 5)),
    ("l1", F.l1_loss, torch.randn(4, 5)),
    ("huber", F.huber_loss, torch.randn(4, 5)),
    ("binaryCrossEntropyWithLogits", F.binary_cross_entropy_with_logits, torch.rand(4, 5)),
]:
    x = (3 * torch.randn(4, 5)).requires_grad_()
    loss = function(x, target)
    loss.backward()
    record(f"loss/{name}", x=x, target=target, y=loss, dx=x.grad)

# Average pooling: name, kernel, stride, padding
for name, kernel, stride, padding in [("half", 2, 2, 0), ("overlapping", 3, 2, 1)]:
    x = leaf(2, 3, 8, 6)
    y = F.avg_pool2d(x, kernel, stride, padding)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(
        f"avgPool/{name}",
        x=nhwc(x), y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad), geometry=torch.tensor([kernel, stride, padding]),
    )

# Nearest-neighbour resize
for name, size in [("double", (8, 10)), ("odd", (7, 13))]:
    x = leaf(2, 3, 4, 5)
    y = F.interpolate(x, size=size, mode="nearest")
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(f"resizeNearest/{name}", x=nhwc(x), y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad))

# Ten steps of each optimiser on given gradients; AdamW's are clipped to a global norm of 1. Some follow a schedule.
STEPS = 10
schedulers = torch.optim.lr_scheduler
for name, kind, options, clip, schedule in [
    ("adam", torch.optim.Adam, {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-7, "weight_decay": 0.1}, None, None),
    ("adamw", torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.05}, 1.0, None),
    ("sgd", torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.02}, None, None),
    ("sgdMomentum", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02}, 1.0, None),
    (
        "sgdNesterov", torch.optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}, None,
        lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 9, 0.01),
    ),
    ("rmsprop", torch.optim.RMSprop, {"lr": 0.01}, None, None),
    (
        "rmspropCentered", torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-6, "momentum": 0.7, "centered": True, "weight_decay": 0.1}, None,
        lambda optimizer: schedulers.StepLR(optimizer, 3, 0.5),
    ),
]:
    parameters = {"first": leaf(4, 3), "second": leaf(5)}
    record(f"{name}/start", **parameters)
    optimizer = kind(parameters.values(), **options)
    scheduler = schedule(optimizer) if schedule else None
    for step in range(STEPS):
        for key, parameter in parameters.items():
            parameter.grad = torch.randn_like(parameter)
        record(f"{name}/grad{step}", **{key: parameter.grad for key, parameter in parameters.items()})
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), clip)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        record(f"{name}/step{step}", **parameters)

# Ten steps of an exponential moving average, which starts at the first weights
source = torch.nn.ParameterDict({"first": leaf(4, 3), "second": leaf(5)})
average = torch.optim.swa_utils.AveragedModel(source, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
average.update_parameters(source)
record("ema/start", **dict(source))
for step in range(STEPS):
    with torch.no_grad():
        for parameter in source.values():
            parameter += torch.randn_like(parameter)
    average.update_parameters(source)
    record(f"ema/weights{step}", **dict(source))
    record(f"ema/step{step}", **dict(average.module))

# Ten learning rates of each schedule
for name, schedule in [
    ("constant", lambda optimizer: schedulers.ConstantLR(optimizer, 1.0)),
    ("warmup", lambda optimizer: schedulers.LinearLR(optimizer, 1 / 4, 1.0, 3)),
    ("linear", lambda optimizer: schedulers.LinearLR(optimizer, 1.0, 0.1, 7)),
    ("polynomial", lambda optimizer: schedulers.PolynomialLR(optimizer, 8, 1.5)),
    ("cosine", lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 9, 0.02)),
    ("exponential", lambda optimizer: schedulers.ExponentialLR(optimizer, 0.8)),
    ("step", lambda optimizer: schedulers.StepLR(optimizer, 3, 0.3)),
    (
        "sequential",
        lambda optimizer: schedulers.SequentialLR(
            optimizer,
            [
                schedulers.LinearLR(optimizer, 0.25, 1.0, 3),
                schedulers.ConstantLR(optimizer, 1.0),
                schedulers.ExponentialLR(optimizer, 0.7),
            ],
            [2, 5],
        ),
    ),
    (
        "warmupCosine",
        lambda optimizer: schedulers.SequentialLR(
            optimizer,
            [schedulers.LinearLR(optimizer, 1 / 3, 1.0, 2), schedulers.CosineAnnealingLR(optimizer, 7, 0.02)],
            [3],
        ),
    ),
]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.2)
    scheduler = schedule(optimizer)
    rates = []
    for step in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    record(f"schedule/{name}", lr=torch.tensor(rates))

# Transposed convolution: name, input [N,H,W,C], out, kernel, stride, padding, output padding, dilation, groups
for name, (n, h, width, c), out, kernel, stride, padding, extra, dilation, groups in [
    ("double", (2, 4, 3, 5), 4, 4, 2, 1, 0, 1, 1),
    ("odd", (1, 3, 4, 3), 2, 3, 2, 1, 1, 1, 1),
    ("dilated", (1, 4, 4, 2), 3, 3, 1, 1, 0, 2, 1),
    ("grouped", (2, 3, 3, 4), 6, 2, 3, 0, 2, 1, 2),
]:
    x, w, b = leaf(n, c, h, width), leaf(c, out // groups, kernel, kernel), leaf(out)
    y = F.conv_transpose2d(x, w, b, stride, padding, extra, groups, dilation)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(
        f"convTranspose2d/{name}",
        x=nhwc(x), weight=nhwc(w), bias=b, y=nhwc(y), dy=nhwc(dy),
        dx=nhwc(x.grad), dweight=nhwc(w.grad), dbias=b.grad,
        geometry=torch.tensor([kernel, stride, padding, extra, dilation, groups]),
    )

# Functions of one image: name, shape [N,C,H,W], function
for name, shape, function in [
    ("maxPool/half", (2, 3, 6, 4), lambda x: F.max_pool2d(x, 2)),
    ("maxPool/overlapping", (1, 2, 7, 6), lambda x: F.max_pool2d(x, 3, 2, 1)),
    ("resizeBilinear/double", (2, 3, 4, 5), lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    ("resizeBilinear/odd", (1, 2, 7, 5), lambda x: F.interpolate(x, size=(3, 8), mode="bilinear")),
    ("resizeBilinear/aligned", (1, 2, 4, 5), lambda x: F.interpolate(x, size=(7, 3), mode="bilinear", align_corners=True)),
    ("pixelShuffle", (2, 12, 2, 3), lambda x: F.pixel_shuffle(x, 2)),
    ("pixelUnshuffle", (1, 2, 6, 3), lambda x: F.pixel_unshuffle(x, 3)),
    ("reflectPad", (1, 2, 4, 5), lambda x: F.pad(x, (3, 1, 2, 0), mode="reflect")),
    ("edgePad", (1, 2, 2, 3), lambda x: F.pad(x, (3, 1, 2, 0), mode="replicate")),
]:
    x = leaf(*shape)
    y = function(x)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(name, x=nhwc(x), y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad))


def upfirdn(x: torch.Tensor, taps: torch.Tensor, up: int, down: int, pad: tuple[int, int, int, int]) -> torch.Tensor:
    """Zeros after each element, padding (left, right, top, bottom), convolution of each channel, every down-th kept."""
    n, c, h, width = x.shape
    zeros = x.new_zeros(n, c, h, up, width, up)
    zeros[:, :, :, 0, :, 0] = x
    spread = F.pad(zeros.reshape(n, c, h * up, width * up), pad)
    kernel = taps.flip(0, 1)[None, None].expand(c, 1, *taps.shape)
    return F.conv2d(spread, kernel, groups=c)[:, :, ::down, ::down]


# upfirdn2d: name, shape [N,C,H,W], filter, up, down, padding (left, right, top, bottom)
for name, shape, size, up, down, pad in [
    ("up", (2, 3, 4, 3), (4, 4), 2, 1, (2, 1, 2, 1)),
    ("down", (1, 2, 6, 8), (4, 3), 1, 2, (1, 1, 1, 0)),
    ("cropped", (1, 2, 5, 4), (2, 3), 3, 2, (-1, 2, 3, -2)),
]:
    x, taps = leaf(*shape), leaf(*size)
    y = upfirdn(x, taps, up, down, pad)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()
    record(
        f"upfirdn2d/{name}",
        x=nhwc(x), filter=taps, y=nhwc(y), dy=nhwc(dy), dx=nhwc(x.grad), dfilter=taps.grad,
        geometry=torch.tensor([up, down, *pad]),
    )

# StyleGAN2's modulated convolution, with a group for each sample, its first derivatives, and those of the length of
# its slope with respect to the styles (path-length regularisation).
for name, up, demodulate in [("plain", False, True), ("up", True, True), ("modulated", False, False)]:
    n, c, out, h, width = 2, 3, 4, 5, 4
    x, w, styles = leaf(n, c, h, width), leaf(out, c, 3, 3), leaf(n, c)
    own = w[None] * styles[:, None, :, None, None]
    if demodulate:
        own = own * (own.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    beside = x.reshape(1, n * c, h, width)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    if up:
        wide = F.conv_transpose2d(beside, own.transpose(1, 2).reshape(n * c, out, 3, 3), stride=2, groups=n)
        y = upfirdn(wide, 4 * torch.outer(taps, taps), 1, 1, (1, 1, 1, 1)).reshape(n, out, 2 * h, 2 * width)
    else:
        y = F.conv2d(beside, own.reshape(n * out, c, 3, 3), padding=1, groups=n).reshape(n, out, h, width)
    dy = torch.randn_like(y)
    dx, dw, dstyles = torch.autograd.grad((y * dy).sum(), [x, w, styles], create_graph=True)
    length = dstyles.square().sum(1).sqrt().sum()
    lx, lw, ls = torch.autograd.grad(length, [x, w, styles], allow_unused=True)
    record(
        f"modulatedConv2d/{name}",
        x=nhwc(x), weight=nhwc(w), styles=styles, filter=taps, y=nhwc(y), dy=nhwc(dy),
        dx=nhwc(dx), dweight=nhwc(dw), dstyles=dstyles,
        length=length, lengthdx=nhwc(lx), lengthdweight=nhwc(lw),
        lengthdstyles=torch.zeros_like(styles) if ls is None else ls,
    )

write(here, tensors, SEED)
