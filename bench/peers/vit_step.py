#!/usr/bin/python3
"""Training steps of a vision transformer by PyTorch: bench_step's presets vit_s_*.

    bench/peers/vit_step.py [--precision fp32|bf16] [--threads 2] [--steps 10]
    bench/peers/vit_step.py --check FILE     compare with what `bench_step --dump FILE` computed

Patches by Conv2d, sine-cosine position embedding, pre-norm blocks with GELU MLPs, norm, a linear
head that predicts the pixels of each patch, mean squared error, AdamW. A step is zero_grad, forward,
backward and the update, on random data that is there already. Prints JSON: median seconds of a step,
samples a second, peak resident memory.

bf16 is torch.autocast: weights stay float32 and are converted where they are used.
"""

import argparse
import contextlib
import json
import resource
import statistics
import struct
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attention = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, channels, size, patch, dim, depth, heads):
        super().__init__()
        self.patch = patch
        self.patch_embed = nn.Conv2d(channels, dim, patch, stride=patch)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, channels * patch * patch)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        return self.head(self.norm(self.blocks(x)))

    def patches(self, image):
        """[B, C, H, W] as the head predicts it: [B, N, p * p * C], channel fastest."""
        b, c, h, w = image.shape
        p = self.patch
        image = image.reshape(b, c, h // p, p, w // p, p)
        return image.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, p * p * c)


def read_safetensors(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data[begin:end], dtype=numpy.float32).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def take_parameters(model, ours):
    """Those of the same name as they are. A channel's embedding and weight make up the Conv2d's."""
    weight = ours["parameter.var_agg.weight"].flatten()  # [C]
    bias = ours["parameter.token_embeds.proj_biases"] + ours["parameter.var_embed"][0]  # [C, D]
    embeds = ours["parameter.token_embeds.proj_weights"]  # [C, D, 1, p, p]
    with torch.no_grad():
        model.patch_embed.weight.copy_(
            torch.einsum("c,cdhw->dchw", weight, embeds[:, :, 0]))
        model.patch_embed.bias.copy_(weight @ bias + ours["parameter.var_agg.bias"])
        for name, parameter in model.named_parameters():
            if not name.startswith("patch_embed"):
                parameter.copy_(ours["parameter." + name.replace("head.", "head.0.")])


def check(path, options):
    """Largest difference of the loss and of each gradient, relative to the gradient's largest."""
    ours = read_safetensors(path)
    model = make_model(options)
    take_parameters(model, ours)
    loss = F.mse_loss(model(ours["x"]), model.patches(ours["target"]))
    loss.backward()
    differences = {"loss": abs(loss.item() / ours["loss"].item() - 1)}
    for name, parameter in model.named_parameters():
        if not name.startswith(("patch_embed", "pos_embed")):  # the latter is fixed in ours
            own = ours["gradient." + name.replace("head.", "head.0.")]
            differences[name] = ((parameter.grad - own).abs().max() / own.abs().max()).item()
    # Of the Conv2d, through what its weight is made of.
    own = ours["gradient.token_embeds.proj_weights"][:, :, 0]
    weight = ours["parameter.var_agg.weight"].flatten()
    peer = model.patch_embed.weight.grad.transpose(0, 1) * weight[:, None, None, None]
    differences["patch_embed.weight"] = ((peer - own).abs().max() / own.abs().max()).item()
    worst = max(differences, key=differences.get)
    print(json.dumps({"loss": loss.item(), "of_loss": differences["loss"],
                      "largest": differences[worst], "at": worst}))
    return 0 if differences[worst] < 1e-3 else 1


def make_model(options):
    return VisionTransformer(3, options.size, options.patch, options.dim, options.depth,
                             options.heads)


def measure(options):
    model = make_model(options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95),
                                  weight_decay=0.05)
    x = torch.rand(options.batch, 3, options.size, options.size) * 2 - 1
    target = model.patches(torch.rand_like(x) * 2 - 1)

    def autocast():
        if options.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            prediction = model(x)
        loss = F.mse_loss(prediction.float(), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    seconds = []
    for i in range(options.warmup + options.steps):
        start = time.perf_counter()
        loss = step()
        if i >= options.warmup:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(json.dumps({
        "torch": torch.__version__, "precision": options.precision, "threads": options.threads,
        "batch": options.batch, "parameters": sum(p.numel() for p in model.parameters()),
        "step_seconds": median, "samples_per_second": options.batch / median,
        "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "loss": loss}))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--check", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(7)
    return check(options.check, options) if options.check else measure(options)


if __name__ == "__main__":
    raise SystemExit(main())
