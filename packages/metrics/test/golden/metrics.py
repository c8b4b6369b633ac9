"""Numbers of every metric from PyTorch in f64, written down plainly from the papers: python3 metrics.py writes metrics.json.

Inputs are made by a hash of integers (see numbers.ts), so that both sides have the same ones without storing them.
"""

import json
import math
from pathlib import Path

import torch

torch.set_default_dtype(torch.float64)
MASK = 0xFFFFFFFF


def uniform(seed, count):
    def one(i):
        x = ((i + seed * 7919) * 2654435761) & MASK
        x ^= x >> 15
        x = (x * 2246822519) & MASK
        x ^= x >> 13
        return x / 2**32

    return torch.tensor([one(i) for i in range(count)])


def features(seed, count, dims, scale=1.0, shift=0.0):
    """Neighbouring features are correlated."""
    u = uniform(seed, count * dims).reshape(count, dims)
    return scale * (u + 0.5 * u.roll(-1, 1)) + shift


def picture(seed, height, width, channels):
    """Bytes: a slope, with noise on it."""
    noise = (uniform(seed, height * width * channels) * 64).floor().reshape(height, width, channels)
    y = torch.arange(height).reshape(-1, 1, 1)
    x = torch.arange(width).reshape(1, -1, 1)
    return (noise + (2 * x + y) % 192).clamp(max=255)


# Images: pairs of one channel planes, range [0, 255].


def gaussian(size=11, sigma=1.5):
    x = torch.arange(size) - (size - 1) / 2
    g = torch.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))
    return (g / g.sum()).reshape(1, 1, size, size)


def ssim_terms(a, b, span):
    a, b = a[None, None], b[None, None]
    blur = lambda x: torch.nn.functional.conv2d(x, gaussian())
    ma, mb = blur(a), blur(b)
    va, vb, cab = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    cs = (2 * cab + c2) / (va + vb + c2)
    return cs.mean(), (cs * (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)).mean()


def per_channel(score, a, b):
    return torch.stack([score(a[..., c], b[..., c]) for c in range(a.shape[-1])]).mean().item()


def halve(x):
    x = torch.nn.functional.pad(x[None, None], (0, x.shape[1] % 2, 0, x.shape[0] % 2), mode="replicate")
    return torch.nn.functional.avg_pool2d(x, 2)[0, 0]


def ms_ssim(a, b, span=255, weights=(0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
    product = torch.tensor(1.0)
    for i, weight in enumerate(weights):
        cs, full = ssim_terms(a, b, span)
        product = product * (full if i == len(weights) - 1 else cs) ** weight
        a, b = halve(a), halve(b)
    return product


def images():
    small = [picture(1, 28, 31, 3), picture(2, 28, 31, 3)]
    large = [picture(3, 177, 190, 1), picture(4, 177, 190, 1)]
    return {
        "psnr": [10 * math.log10(255**2 / (a - b).square().mean().item()) for a, b in (small, large)],
        "ssim": [per_channel(lambda x, y: ssim_terms(x, y, 255)[1], a, b) for a, b in (small, large)],
        "msSsim": per_channel(ms_ssim, *large),
    }


# Sets of features.


def frechet(x, y):
    """The trace of the square root as a sum of singular values of factors, which forms no square root of a matrix."""
    cx, cy = [(s - s.mean(0)) / math.sqrt(len(s) - 1) for s in (x, y)]
    overlap = torch.linalg.svdvals(cx @ cy.T).sum()
    return ((x.mean(0) - y.mean(0)).square().sum() + cx.square().sum() + cy.square().sum() - 2 * overlap).item()


def mmd2(x, y):
    """Binkowski et al. 2018, eq. 4, with their kernel."""
    k = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    m, n = len(x), len(y)
    kxx, kyy = k(x, x), k(y, y)
    within = (kxx.sum() - kxx.trace()) / (m * (m - 1)) + (kyy.sum() - kyy.trace()) / (n * (n - 1))
    return (within - 2 * k(x, y).mean()).item()


def radii(x, k):
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").sort(1).values[:, k]


def manifold(real, fake, k):
    distance = torch.cdist(real, fake, compute_mode="donot_use_mm_for_euclid_dist")
    real_radii, fake_radii = radii(real, k), radii(fake, k)
    inside = distance <= real_radii[:, None]
    return {
        "precision": inside.any(0).double().mean().item(),
        "recall": (distance <= fake_radii[None, :]).any(1).double().mean().item(),
        "density": inside.double().sum(0).mean().item() / k,
        "coverage": (distance.min(1).values <= real_radii).double().mean().item(),
    }


def inception_score(logits, splits):
    scores = []
    for part in logits.softmax(1).chunk(splits):
        marginal = part.mean(0, keepdim=True)
        scores.append((part * (part.log() - marginal.log())).sum(1).mean().exp().item())
    scores = torch.tensor(scores)
    return {"mean": scores.mean().item(), "std": scores.std(correction=0).item()}


def sets():
    real, fake = features(5, 120, 8), features(6, 100, 8, 0.8, 0.25)
    few, dead = features(7, 5, 8), fake.clone()
    dead[:, 3] = 0
    return {
        "frechet": frechet(real, fake),
        "frechetFew": frechet(real, few),
        "frechetDead": frechet(dead, few),
        "frechetWide": frechet(features(8, 300, 96), features(9, 90, 96, 1.1, 0.05)),
        "mmd2": mmd2(real[:100], fake),
        "manifold3": manifold(real, fake, 3),
        "manifold5": manifold(real, fake, 5),
        "inceptionScore": inception_score(6 * features(10, 120, 5), 4),
    }


Path(__file__).with_name("metrics.json").write_text(
    json.dumps({"torch": torch.__version__.split("+")[0], **images(), **sets()}, indent=2) + "\n"
)
