"""Records golden vectors from PyTorch for the tests of @figment/gan: the objectives with the derivatives of both players' losses,
the penalties with those of the critic's parameters, minibatch standard deviation, and the conditional heads.

Run `python3 losses.py`; it writes losses.safetensors beside itself. Everything is computed in float64 from numbers that float32
holds, and rounded to float32 when written. Images are channels-last [N,H,W,C], as Figment has them.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 31415
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}


def record(case: str, **values: torch.Tensor) -> None:
    for name, value in values.items():
        value = value.detach()
        tensors[f"{case}/{name}"] = value.to(torch.int32 if value.dtype == torch.int64 else torch.float32).contiguous().clone()


def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return (scale * torch.randn(*shape)).float().double()


# Objectives. Scores far from zero show whether anything overflows.
bce = F.binary_cross_entropy_with_logits
ones, zeros = torch.ones_like, torch.zeros_like
objectives = {
    "minimax": (
        lambda r, f: bce(r, ones(r)) + bce(f, zeros(f)),
        lambda f: -bce(f, zeros(f)),
    ),
    "minimaxSmoothed": (
        lambda r, f: bce(r, 0.9 * ones(r)) + bce(f, zeros(f)),
        lambda f: -bce(f, zeros(f)),
    ),
    "nonSaturating": (
        lambda r, f: bce(r, ones(r)) + bce(f, zeros(f)),
        lambda f: bce(f, ones(f)),
    ),
    "nonSaturatingSmoothed": (
        lambda r, f: bce(r, 0.75 * ones(r)) + bce(f, zeros(f)),
        lambda f: bce(f, ones(f)),
    ),
    "hinge": (
        lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(),
        lambda f: -f.mean(),
    ),
    "leastSquares": (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "leastSquaresPearson": (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * ((f + 1) ** 2).mean(),
        lambda f: 0.5 * (f**2).mean(),
    ),
    "wasserstein": (
        lambda r, f: f.mean() - r.mean(),
        lambda f: -f.mean(),
    ),
}
real, fake = draw(7, 1, scale=2), draw(9, 1, scale=2)
real[0], real[1], fake[0], fake[1] = 90.0, -90.0, 90.0, -90.0
record("scores", real=real, fake=fake)
for name, (critic, generator) in objectives.items():
    r, f = real.clone().requires_grad_(), fake.clone().requires_grad_()
    loss = critic(r, f)
    dr, df = torch.autograd.grad(loss, [r, f])
    f2 = fake.clone().requires_grad_()
    wanted = generator(f2)
    record(name, critic=loss, dreal=dr, dfake=df, generator=wanted, dgenerator=torch.autograd.grad(wanted, f2)[0])

# Penalties through a small convolutional critic. The points between real and generated samples are recorded with their ε.
a, b, c = draw(4, 3, 3, 3, scale=0.4).requires_grad_(), draw(4).requires_grad_(), draw(1, 4 * 3 * 3, scale=0.4).requires_grad_()
real, fake, epsilon = draw(5, 6, 6, 3), draw(5, 6, 6, 3), torch.rand(5, 1, 1, 1).float().double()


def critic(x: torch.Tensor) -> torch.Tensor:
    """x [N,6,6,3] → [N,1], curved everywhere; a is [O,kH,kW,I]; features are flattened channels-last."""
    h = torch.tanh(F.conv2d(x.permute(0, 3, 1, 2), a.permute(0, 3, 1, 2), b, stride=2, padding=1))
    return h.permute(0, 2, 3, 1).reshape(x.shape[0], -1) @ c.T


def slopes(x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0].flatten(1)


record("penalties", a=a, b=b, c=c, real=real, fake=fake, epsilon=epsilon)
between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
point = real.clone().requires_grad_()
for name, value in {
    "gradientPenalty": ((slopes(between).norm(dim=1) - 1) ** 2).mean(),
    "gradientPenaltyTo0.5": ((slopes(between).norm(dim=1) - 0.5) ** 2).mean(),
    "r1": 0.5 * slopes(point).square().sum(1).mean(),
}.items():
    da, db, dc = torch.autograd.grad(value, [a, b, c], retain_graph=True)
    record(name, value=value, da=da, db=db, dc=dc)

# Minibatch standard deviation, after the layout of its authors: [groups of samples n, n + N/G, …].
for name, shape, group, features in [("image", (8, 3, 2, 6), 4, 1), ("shares", (6, 2, 2, 6), 2, 3), ("vector", (4, 5), 4, 1)]:
    x = draw(*shape).requires_grad_()
    n, ch = shape[0], shape[-1]
    y = x.reshape(group, n // group, -1, features, ch // features)
    y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean([1, 3])  # [N/G, F]
    y = y.reshape(1, n // group, *[1] * (len(shape) - 2), features).expand(group, n // group, *shape[1:-1], features)
    out = torch.cat([x, y.reshape(n, *shape[1:-1], features)], -1)
    dy = draw(*out.shape)
    record(f"minibatchStd/{name}", x=x, y=out, dy=dy, dx=torch.autograd.grad((out * dy).sum(), x)[0])

# Heads on features: projection and auxiliary classifier.
phi, label = draw(6, 5).requires_grad_(), torch.tensor([0, 3, 1, 3, 2, 0])
v, w, bias = draw(4, 5).requires_grad_(), draw(1, 5).requires_grad_(), draw(1).requires_grad_()
out = (v[label] * phi).sum(1, keepdim=True) + phi @ w.T + bias
dy = draw(6, 1)
d = torch.autograd.grad((out * dy).sum(), [phi, v, w, bias])
record("projection", phi=phi, label=label, v=v, w=w, bias=bias, y=out, dy=dy, dphi=d[0], dv=d[1], dw=d[2], dbias=d[3])
on_real, on_fake = draw(6, 4).requires_grad_(), draw(6, 4).requires_grad_()
loss = F.cross_entropy(on_real, label) + F.cross_entropy(on_fake, label)
d = torch.autograd.grad(loss, [on_real, on_fake])
record("auxiliary", label=label, real=on_real, fake=on_fake, loss=loss, dreal=d[0], dfake=d[1])

write(here, tensors, SEED)
