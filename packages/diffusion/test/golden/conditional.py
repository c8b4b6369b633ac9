"""Records what diffusers' UNet2DConditionModel makes of small inputs: once as Stable Diffusion 1.5 has it, once as 2.1 does
(linear projections, heads by level).

Run `PYTHONPATH=<diffusers>/src python3 conditional.py` (diffusers 0.40, torch 2); it writes conditional.safetensors beside
itself, weights under diffusers' names. Images are [N,C,H,W].
"""

import json
import pathlib
import sys

import torch

from diffusers import UNet2DConditionModel

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write

SEED = 20261
torch.manual_seed(SEED)
torch.set_num_threads(1)
here = pathlib.Path(__file__)
tensors: dict[str, torch.Tensor] = {}

configs = {
    "stable-1": dict(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(4, 8),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=6,
        norm_num_groups=4,
    ),
    "stable-2": dict(
        in_channels=2,
        out_channels=3,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(4, 8),
        layers_per_block=1,
        attention_head_dim=(1, 4),
        cross_attention_dim=5,
        transformer_layers_per_block=1,
        norm_num_groups=4,
        use_linear_projection=True,
    ),
}
for name, config in configs.items():
    net = UNet2DConditionModel(**config).eval()
    for parameter in net.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    x, context = torch.randn(2, net.config.in_channels, 6, 7), torch.randn(2, 3, config["cross_attention_dim"])
    t = torch.tensor([3, 971])
    with torch.no_grad():
        y = net(x, t, context).sample.contiguous()
    tensors |= {f"{name}/{key}": value for key, value in {"x": x, "t": t.to(torch.int32), "context": context, "y": y}.items()}
    tensors |= {f"{name}.weights/{key}": value.contiguous() for key, value in net.state_dict().items()}

(here.parent / "conditional.json").write_text(json.dumps(configs, indent=2) + "\n")
write(here, tensors, SEED)
