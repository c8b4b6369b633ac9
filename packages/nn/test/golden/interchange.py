"""Records a PyTorch model's own state dict, an input and its output, for the exchange of weights.

Run `python3 interchange.py`; it writes interchange.safetensors beside itself. Everything is channels first, as PyTorch
has it: bringing it to Figment's layouts is what is tested.
"""

import pathlib
import sys

import torch

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tensor/test/golden"))
from golden_file import write
from torch_model import make

SEED = 20252
torch.manual_seed(SEED)
torch.set_num_threads(1)

model = make().train()
with torch.no_grad():
    # Running statistics and singular vectors that are not those of the start.
    for _ in range(3):
        model(torch.randn(4, 3, 6, 5))
    for name, parameter in model.named_parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()
    x = torch.randn(2, 3, 6, 5)
    y = model(x)
weights = {f"weights/{k}": v.contiguous() for k, v in model.state_dict().items() if "num_batches" not in k}
write(pathlib.Path(__file__), {"x": x, "y": y.contiguous(), **weights}, SEED)
