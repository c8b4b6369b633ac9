"""Records folders that diffusers wrote, and what it makes of them: a DDPM with the options of google/ddpm-cifar10-32, and a
class-conditional network with diffusers' defaults in an old file of weights.

Run `PYTHONPATH=<diffusers>/src python3 pipelines.py` (diffusers 0.40, torch 2); it writes pipelines/ and pipelines.safetensors
beside itself. Images are [N,C,H,W]. As a program with a folder and a file, `python3 pipelines.py <folder> <output>`, it reads
a folder that we wrote and writes the images that seed 7 gives in 5 steps.
"""

import pathlib
import shutil
import sys

import torch

from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20254
here = pathlib.Path(__file__)
torch.set_num_threads(1)


def loop(unet, scheduler, steps: int, seed: int, batch: int, size: int) -> torch.Tensor:
    """What the pipelines do, without the last conversion to pictures."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((batch, unet.config.in_channels, size, size), generator=generator)
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x, generator=generator).prev_sample
    return x


def scramble(unet: UNet2DModel) -> UNet2DModel:
    """Weights of every layer away from their first values."""
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return unet.eval()


if len(sys.argv) == 3:
    pipeline = DDPMPipeline.from_pretrained(sys.argv[1])
    output = pathlib.Path(sys.argv[2])
    size = pipeline.unet.config.sample_size
    output.with_suffix(".py").write_text("")
    write(output.with_suffix(".py"), {"x": loop(pipeline.unet.eval(), pipeline.scheduler, 5, 7, 2, size)}, 0)
    sys.exit()

torch.manual_seed(SEED)
tensors: dict[str, torch.Tensor] = {}
folder = here.with_suffix("")
shutil.rmtree(folder, ignore_errors=True)

cifar = scramble(
    UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        freq_shift=1,
        flip_sin_to_cos=False,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(4, 8, 8),
        layers_per_block=1,
        downsample_padding=0,
        attention_head_dim=None,
        norm_num_groups=4,
        norm_eps=1e-6,
    )
)
DDPMPipeline(cifar, DDPMScheduler(variance_type="fixed_large")).save_pretrained(folder / "cifar")
x, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 971])
with torch.no_grad():
    tensors |= {"cifar/x": x, "cifar/t": t.to(torch.int32), "cifar/y": cifar(x, t).sample.contiguous()}
tensors["cifar/ddpm"] = loop(cifar, DDPMScheduler(variance_type="fixed_large"), 10, 3, 2, 8)
tensors["cifar/ddim"] = loop(cifar, DDIMScheduler(), 10, 3, 2, 8)

classes = scramble(
    UNet2DModel(
        sample_size=(8, 12),
        in_channels=1,
        out_channels=2,
        down_block_types=("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=2,
        attention_head_dim=4,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        add_attention=False,
        num_class_embeds=5,
    )
)
DDPMPipeline(classes, DDIMScheduler(prediction_type="v_prediction")).save_pretrained(
    folder / "classes", safe_serialization=False
)
x, t, label = torch.randn(2, 1, 8, 12), torch.tensor([0, 500]), torch.tensor([4, 1])
with torch.no_grad():
    y = classes(x, t, class_labels=label).sample.contiguous()
tensors |= {"classes/x": x, "classes/t": t.to(torch.int32), "classes/label": label.to(torch.int32), "classes/y": y}

write(here, tensors, SEED)
