"""Records whole sampling loops of diffusers' schedulers, for those cases that schedulers.json lists.

Run `PYTHONPATH=<diffusers>/src python3 schedulers.py` (diffusers 0.40, torch 2); it writes schedulers.safetensors beside
itself. The network is a formula that test/schedulers.test.ts has too. Of each case: alphas (where the class has them), the
timesteps, what the loop starts from, the noise of each step that draws some, and the samples after each step.
"""

import importlib
import json
import pathlib
import sys

import torch

import diffusers

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20253
SHAPE = (2, 2, 3, 4)
here = pathlib.Path(__file__)
torch.manual_seed(SEED)
torch.set_num_threads(1)
tensors: dict[str, torch.Tensor] = {}
drawn: list[torch.Tensor] = []


def randn(shape, **_options) -> torch.Tensor:
    drawn.append(torch.randn(shape))
    return drawn[-1]


def network(x: torch.Tensor, t: torch.Tensor, twice: bool) -> torch.Tensor:
    """Something like a prediction of noise: bounded, and told the time."""
    out = 0.8 * torch.tanh(x) + 0.1 * torch.sin(t.to(torch.float32) * 0.01)
    return torch.cat([out, torch.sin(3 * x)], dim=1) if twice else out


for name, case in json.loads(here.with_suffix(".json").read_text()).items():
    config = dict(case["config"])
    cls = getattr(diffusers, config.pop("_class_name"))
    module = importlib.import_module(cls.__module__)
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = randn
    scheduler = cls.from_config(config)
    scheduler.set_timesteps(case["steps"])
    drawn.clear()
    x = torch.randn(SHAPE) * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else torch.randn(SHAPE)
    tensors[f"{name}/start"] = x.contiguous()
    options = {"eta": case["eta"]} if "eta" in case else {}
    twice = config.get("variance_type") == "learned_range"
    steps = []
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(seen, t, twice), t, x, **options).prev_sample
        steps.append(x)
    tensors[f"{name}/timesteps"] = scheduler.timesteps.to(torch.float32).clone()
    tensors[f"{name}/x"] = torch.stack(steps)
    if drawn:
        tensors[f"{name}/noise"] = torch.stack(drawn)
    if hasattr(scheduler, "alphas_cumprod"):
        tensors[f"{name}/alphas"] = scheduler.alphas_cumprod[::9].clone()

write(here, tensors, SEED)
