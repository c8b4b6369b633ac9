"""The peer PyTorch for kernels, eager. Prints its version; then, for each line on standard input:

`prepare key=value …`  makes the work's operands and answers `ready ID`, or `unsupported WHY`
`run ID REPEATS`       does the work and answers `done`
`release ID`           frees the operands

The records are those of benchmarks/src/work.ts, with `format` (f32, bf16), `threads` and `layout` (first, last). With the
argument `cuda` everything is on the GPU, f32 products are true f32, and `done` waits for the device.
"""

import sys

import torch
import torch.nn.functional as F

formats = {"f32": torch.float32, "bf16": torch.bfloat16}


def number(text):
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def image(work, *shape):
    layout = torch.channels_last if work["layout"] == "last" else torch.contiguous_format
    return (torch.rand(shape) * 2 - 1).to(formats[work["format"]]).to(memory_format=layout)


def rows(work, *shape):
    return (torch.rand(shape) * 2 - 1).to(formats[work["format"]])


def conv(work):
    n, inner, outer, kernel = (work[key] for key in ("n", "inChannels", "outChannels", "kernel"))
    x, w = image(work, n, inner, work["size"], work["size"]), image(work, outer, inner, kernel, kernel)
    y = image(work, n, outer, work["outSize"], work["outSize"])
    pair = lambda key: [work[key], work[key]]
    stride, padding = pair("stride"), pair("padding")
    if work["pass"] == "forward":
        return lambda: F.conv2d(x, w, stride=stride, padding=padding)
    wanted = [work["pass"] == "data", work["pass"] == "weight", False]
    return lambda: torch.ops.aten.convolution_backward(
        y, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, wanted
    )


def attention(work):
    shape = (work["batch"], work["heads"], work["sequence"], work["depth"])
    q, k, v, direction = (rows(work, *shape) for _ in range(4))
    if work["pass"] == "forward":
        return lambda: F.scaled_dot_product_attention(q, k, v)
    for x in (q, k, v):
        x.requires_grad_()

    def both():
        return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), (q, k, v), direction)

    both.needs_grad = True
    return both


def matmul(work):
    a, b = rows(work, work["m"], work["k"]), rows(work, work["k"], work["n"])
    return lambda: a @ b


def group_norm(work):
    x = image(work, work["n"], work["channels"], work["size"], work["size"])
    gamma, beta = rows(work, work["channels"]), rows(work, work["channels"])
    return lambda: F.silu(F.group_norm(x, work["groups"], gamma, beta, work["epsilon"]))


def add_noise(work):
    shape = (work["n"], work["channels"], work["size"], work["size"])
    x, noise, a, b = rows(work, *shape), rows(work, *shape), rows(work, work["steps"]), rows(work, work["steps"])
    t = torch.arange(work["n"]) * 37 % work["steps"]
    return lambda: a[t][:, None, None, None] * x + b[t][:, None, None, None] * noise


def sampler_step(work):
    shape = (work["n"], work["channels"], work["size"], work["size"])
    x, epsilon = rows(work, *shape), rows(work, *shape)
    c0, c1, c2, c3, c4, c5 = (work[f"c{i}"] for i in range(6))

    def step():
        clean = (c0 * x + c1 * epsilon).clamp_(-1, 1)
        y = clean.mul_(c2).add_(x, alpha=c4)
        if c5 != 0:
            y.add_(epsilon, alpha=c5)
        return y.add_(torch.randn_like(x), alpha=c3) if work["noise"] == "drawn" else y

    return step


def randn(work):
    return lambda: torch.randn(work["count"], dtype=formats[work["format"]])


def copy(work):
    x, y = torch.empty(work["count"]).uniform_(), torch.empty(work["count"])
    return lambda: y.copy_(x)


kinds = {
    "copy": copy,
    "conv": conv,
    "attention": attention,
    "matmul": matmul,
    "groupNorm": group_norm,
    "addNoise": add_noise,
    "samplerStep": sampler_step,
    "randn": randn,
}


def main():
    prepared = {}
    next_id = 0
    on_gpu = sys.argv[1:] == ["cuda"]
    if on_gpu:
        torch.set_default_device("cuda")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "prepare":
            work = {key: number(value) for key, value in (item.split("=", 1) for item in rest)}
            if work["kind"] not in kinds:
                print(f"unsupported {work['kind']}", flush=True)
                continue
            torch.set_num_threads(work["threads"])
            prepared[next_id] = (kinds[work["kind"]](work), work["threads"])
            print(f"ready {next_id}", flush=True)
            next_id += 1
        elif command == "run":
            f, threads = prepared[int(rest[0])]
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            with torch.set_grad_enabled(getattr(f, "needs_grad", False)):
                for _ in range(int(rest[1])):
                    f()
            if on_gpu:
                torch.cuda.synchronize()
            print("done", flush=True)
        elif command == "release":
            prepared.pop(int(rest[0]), None)
            if on_gpu:
                torch.cuda.empty_cache()


main()
