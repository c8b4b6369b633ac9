"""Records golden numbers from torch.distributions for the densities and divergences of @figment/vae.

Run `python3 densities.py`; it writes densities.safetensors beside itself.
"""

import pathlib
import sys

import torch
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Categorical,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    Uniform,
    kl_divergence,
)

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20261
torch.manual_seed(SEED)
torch.set_default_dtype(torch.float64)
tensors: dict[str, torch.Tensor] = {}


def record(case: str, **values: torch.Tensor) -> None:
    for name, value in values.items():
        tensors[f"{case}/{name}"] = value.detach().to(torch.float32).contiguous()


def rounded(*shape: int) -> torch.Tensor:
    """Normal numbers that f32 holds exactly, so that both sides begin with the same ones."""
    return torch.randn(*shape).to(torch.float32).to(torch.float64)


q = (rounded(3, 5), rounded(3, 5))
p = (rounded(3, 5), rounded(3, 5))
z = rounded(3, 5)
normal = [Normal(mean, (log_variance / 2).exp()) for mean, log_variance in (q, p)]
record(
    "gaussian",
    qMean=q[0],
    qLogVariance=q[1],
    pMean=p[0],
    pLogVariance=p[1],
    z=z,
    klToStandard=kl_divergence(normal[0], Normal(0.0, 1.0)),
    kl=kl_divergence(normal[0], normal[1]),
    logDensity=normal[0].log_prob(z),
)

logits = 3 * rounded(2, 4, 4, 1)
bits = torch.bernoulli(torch.full((2, 4, 4, 1), 0.5))
record("bernoulli", logits=logits, x=bits, logDensity=Bernoulli(logits=logits).log_prob(bits).sum((1, 2, 3)))

categories = rounded(2, 3, 4)
record(
    "categorical",
    logits=categories,
    kl=kl_divergence(Categorical(logits=categories), Categorical(logits=torch.zeros(2, 3, 4))),
)

# The logistic distribution as torch composes it; a bin's probability is a difference of its distribution function.
mean, log_scale = 0.5 * rounded(2, 4, 4, 1), -1 + 0.5 * rounded(2, 4, 4, 1)
level = torch.randint(0, 256, (2, 4, 4, 1)).to(torch.float64)
level[0, 0, :2, 0] = torch.tensor([0.0, 255.0])
logistic = TransformedDistribution(
    Uniform(0.0, 1.0, validate_args=False), [SigmoidTransform().inv, AffineTransform(mean, log_scale.exp())]
)
x = level * 2 / 255 - 1
upper = torch.where(level == 255, torch.ones_like(x), logistic.cdf(x + 1 / 255))
lower = torch.where(level == 0, torch.zeros_like(x), logistic.cdf(x - 1 / 255))
record("logistic", mean=mean, logScale=log_scale, x=x, logDensity=(upper - lower).log().sum((1, 2, 3)))

write(pathlib.Path(__file__), tensors, SEED)
