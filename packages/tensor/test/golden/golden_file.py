"""Writes recorded tensors as safetensors, with what made them: the torch version, the script's hash, and the seed."""

import hashlib
import json
import pathlib
import struct

import torch


def write(script: pathlib.Path, tensors: dict[str, torch.Tensor], seed: int) -> None:
    """Writes <script>.safetensors beside the script: length of the header, header, data."""
    header: dict[str, object] = {
        "__metadata__": {
            "torch": torch.__version__,
            "script_sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
            "seed": str(seed),
        }
    }
    data = b""
    for key, value in tensors.items():
        raw = value.numpy().tobytes()
        header[key] = {
            "dtype": "I32" if value.dtype == torch.int32 else "F32",
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    script.with_suffix(".safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
