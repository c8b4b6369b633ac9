"""The peer PyTorch for the models' suite, eager. Prints its version; then, for each line on standard input:

`prepare kind=… config=… format=… threads=… layout=…`  builds a network of benchmarks/src/networks/configs.ts, answers `ready 0`
`run 0 REPEATS`  makes so many training steps, or forward passes, and answers `done`
`measure`        answers the number of parameters, 0, and the peak of resident memory since it was prepared, bytes

Training in bf16 is autocast on f32 weights, a forward pass in bf16 has its weights in bf16. With the argument `cuda`
everything is on the GPU, `ready` comes after a first call, `done` waits for the device and `measure` answers the peak of its
memory; with `compiled` besides, networks go through torch.compile.
"""

import json
import re
import sys
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F
from torch_stable_unet import StableUNet
from torch_train_step import UNet


on_gpu = "cuda" in sys.argv[1:]
compiled = "compiled" in sys.argv[1:]


def casting(format):
    return torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16) if format == "bf16" else nullcontext()


class Vae(nn.Module):
    def __init__(self, pixels, hidden, latents):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latents))
        self.decode = nn.Sequential(nn.Linear(latents, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def forward(self, x):
        mean, log_variance = self.encode(x).chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        logits = self.decode(z)
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
        return F.binary_cross_entropy_with_logits(logits.float(), x, reduction="none").sum(1).add(kl.float()).mean()


def vae(config, format, layout):
    pixels = config["imageSize"] ** 2
    model = Vae(pixels, config["hidden"], config["latents"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x = torch.rand(config["batch"], pixels)

    def step():
        with casting(format):
            loss = model(x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return [model], step


class Generator(nn.Module):
    def __init__(self, latents, channels, side):
        super().__init__()
        self.latents = latents
        self.stem = nn.ConvTranspose2d(latents, channels[0], side, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(c) for c in channels])
        to = [*channels[1:], 3]
        self.ups = nn.ModuleList([nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False) for a, b in zip(channels, to)])

    def forward(self, z):
        h = self.stem(z[:, :, None, None])
        for norm, up in zip(self.norms, self.ups):
            h = up(F.relu(norm(h)))
        return torch.tanh(h)


class Critic(nn.Module):
    def __init__(self, channels, side):
        super().__init__()
        widths = [3, *channels]
        self.convs = nn.ModuleList(
            [nn.Conv2d(a, b, 4, 2, 1, bias=i == 0) for i, (a, b) in enumerate(zip(widths, channels))]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(c) if i > 0 else nn.Identity() for i, c in enumerate(channels)])
        self.head = nn.Linear(channels[-1] * side * side, 1)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        return self.head(x.flatten(1))


def dcgan(config, format, layout):
    batch, size, channels = config["batch"], config["imageSize"], config["channels"]
    side = size // 2 ** len(channels)
    generator = Generator(config["latents"], channels, side).to(memory_format=layout)
    critic = Critic(channels[::-1], side).to(memory_format=layout)
    options = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
    of_generator = torch.optim.Adam(generator.parameters(), **options)
    of_critic = torch.optim.Adam(critic.parameters(), **options)
    real = (torch.rand(batch, 3, size, size) * 2 - 1).to(memory_format=layout)
    draw = lambda: generator(torch.randn(batch, config["latents"]))

    def step():
        with casting(format):
            with torch.no_grad():
                fake = draw()
            loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean()
        of_critic.zero_grad(set_to_none=True)
        loss.backward()
        of_critic.step()
        critic.requires_grad_(False)
        with casting(format):
            loss = F.softplus(-critic(draw())).mean()
        of_generator.zero_grad(set_to_none=True)
        loss.backward()
        of_generator.step()
        critic.requires_grad_(True)

    return [generator, critic], step


def ddpm(config, format, layout):
    batch, size = config.pop("batch"), config["imageSize"]
    model = UNet(inChannels=3, **config).to(memory_format=layout)
    parameters = list(model.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=2e-4, fused=True)
    alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    signal, spread = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    images = (torch.rand(batch, 3, size, size) * 2 - 1).to(memory_format=layout)

    def step():
        t = torch.randint(0, 1000, (batch,))
        noise = torch.randn_like(images)
        x = signal[t][:, None, None, None] * images + spread[t][:, None, None, None] * noise
        with casting(format):
            predicted = model(x, t)
        loss = F.mse_loss(predicted.float(), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1)
        optimizer.step()
        torch._foreach_lerp_(average, parameters, 1e-4)

    return [model], step


def stable(config, format, layout):
    batch, size, tokens = config.pop("batch"), config.pop("size"), config.pop("tokens")
    dtype = torch.bfloat16 if format == "bf16" else torch.float32
    model = StableUNet(**config).eval().to(dtype).to(memory_format=layout)
    x = torch.randn(batch, 4, size, size, dtype=dtype).to(memory_format=layout)
    context = torch.randn(batch, tokens, config["contextDim"], dtype=dtype)
    t = torch.full((batch,), 500)

    def forward():
        with torch.inference_mode():
            model(x, t, context)

    return [model], forward


def reset_peak():
    if on_gpu:
        return torch.cuda.reset_peak_memory_stats()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak_bytes():
    if on_gpu:
        return torch.cuda.max_memory_allocated()
    try:
        with open("/proc/self/status") as file:
            found = re.search(r"^VmHWM:\s*(\d+) kB$", file.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def main():
    kinds = {"vae": vae, "dcgan": dcgan, "ddpm": ddpm, "stable": stable}
    if on_gpu:
        torch.set_default_device("cuda")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    print(torch.__version__, flush=True)
    torch.manual_seed(0)
    models, call = [], None
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "prepare":
            record = dict(item.split("=", 1) for item in rest)
            torch.set_num_threads(int(record["threads"]))
            layout = torch.channels_last if record["layout"] == "last" else torch.contiguous_format
            models, call = kinds[record["kind"]](json.loads(record["config"]), record["format"], layout)
            if compiled:
                for model in models:
                    model.compile()
            if on_gpu:
                # A first call of many seconds leaves the race: it compiles, and cuDNN looks for its fastest kernels.
                call()
                call()
            reset_peak()
            print("ready 0", flush=True)
        elif command == "run":
            for _ in range(int(rest[1])):
                call()
            if on_gpu:
                torch.cuda.synchronize()
            print("done", flush=True)
        elif command == "measure":
            parameters = sum(p.numel() for model in models for p in model.parameters())
            print(f"{parameters} 0 {peak_bytes()}", flush=True)


if __name__ == "__main__":
    main()
