#!/usr/bin/python3
"""Training steps of a channel model by PyTorch: bench_step's presets channels_*.

A patch embedding of its own for every channel, a channel embedding, single-query cross-attention
over the channels of each position (ClimaX), position embedding, pre-norm ViT, linear head back to
all pixels, mean squared error, AdamW.

    bench/peers/channel_step.py channels_80 [--precision fp32|bf16] [--threads 2] [--steps 5]
    bench/peers/channel_step.py channels_80 --check FILE
                                    compare with what `bench_step --dump FILE` computed

Prints JSON: median seconds of a step, samples a second, peak resident memory. bf16 is
torch.autocast: weights stay float32 and are converted where they are used.

Axes: b sample, c channel, n token, p pixel of a patch, d feature, h head, e feature of a head.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

from vit_step import read_safetensors

PRESETS = {
    "channels_80": dict(channels=80, height=32, width=64, patch=2, dim=256, depth=8, heads=8),
    "channels_512": dict(channels=512, height=32, width=32, patch=4, dim=384, depth=6, heads=6),
}


class ChannelEmbedding(nn.Module):
    """Patch embedding of every channel by itself. form: `bmm` or `conv` (grouped)."""

    def __init__(self, channels, patch, dim, form):
        super().__init__()
        self.patch, self.form = patch, form
        self.weight = nn.Parameter(torch.empty(channels, dim, patch * patch))
        nn.init.xavier_uniform_(self.weight)
        self.bias = nn.Parameter(torch.zeros(channels, dim))
        self.channel = nn.Parameter(torch.randn(channels, dim) * 0.02)

    def forward(self, x):  # [b, c, height, width] -> [b, n, c, d]
        batch, channels, height, width = x.shape
        patch, dim = self.patch, self.weight.shape[1]
        constant = self.bias + self.channel
        if self.form == "conv":
            weight = self.weight.reshape(channels * dim, 1, patch, patch)
            tokens = F.conv2d(x, weight, constant.reshape(-1), stride=patch, groups=channels)
            tokens = tokens.reshape(batch, channels, dim, -1)
            return tokens.permute(0, 3, 1, 2)
        rows, columns = height // patch, width // patch
        x = x.reshape(batch, channels, rows, patch, columns, patch)
        x = x.permute(1, 0, 2, 4, 3, 5).reshape(channels, batch * rows * columns, patch * patch)
        tokens = torch.baddbmm(constant[:, None], x, self.weight.transpose(1, 2))
        return tokens.reshape(channels, batch, rows * columns, dim).permute(1, 2, 0, 3)


class ChannelAttention(nn.Module):
    """A learned query attends to the channels of each position."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens):  # [b, n, c, d] -> [b, n, d]
        # Faster than einsum, than products and sums elementwise and than nn.MultiheadAttention.
        batch, positions, channels, dim = tokens.shape
        width = dim // self.heads
        kv = self.kv(tokens).reshape(batch * positions, channels, 2, self.heads, width)
        k, v = kv.permute(2, 0, 3, 1, 4)
        q = self.q(self.query).reshape(1, self.heads, 1, width) * width ** -0.5
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).reshape(batch, positions, dim))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ChannelModel(nn.Module):
    def __init__(self, channels, height, width, patch, dim, depth, heads, form):
        super().__init__()
        self.patch = patch
        positions = height // patch * (width // patch)
        self.embedding = ChannelEmbedding(channels, patch, dim, form)
        self.attention = ChannelAttention(dim, heads)
        self.position = nn.Parameter(torch.randn(1, positions, dim) * 0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, patch * patch * channels)

    def forward(self, x):  # [b, c, height, width] -> the same
        batch, channels, height, width = x.shape
        patch = self.patch
        y = self.attention(self.embedding(x)) + self.position
        y = self.head(self.norm(self.blocks(y)))
        y = y.reshape(batch, height // patch, width // patch, patch, patch, channels)
        return y.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, height, width)


def name_of(parameter):
    """What Tributary calls a parameter."""
    for start, name in (("embedding.weight", "token_embeds.proj_weights"),
                        ("embedding.bias", "token_embeds.proj_biases"),
                        ("embedding.channel", "var_embed"), ("attention.query", "var_query"),
                        ("attention.", "var_agg."), ("position", "pos_embed"),
                        ("head.", "head.0.")):
        if parameter.startswith(start):
            return name + parameter[len(start):]
    for short, name in ((".qkv.", ".attn.qkv."), (".proj.", ".attn.proj."), (".fc", ".mlp.fc")):
        parameter = parameter.replace(short, name)
    return parameter


def check(model, path):
    """Largest difference of the loss and of each gradient, relative to the gradient's largest."""
    ours = read_safetensors(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(ours["parameter." + name_of(name)].reshape(parameter.shape))
    loss = F.mse_loss(model(ours["x"]), ours["target"])
    loss.backward()
    differences = {"loss": abs(loss.item() / ours["loss"].item() - 1)}
    for name, parameter in model.named_parameters():
        if name != "position":  # fixed in ours
            own = ours["gradient." + name_of(name)].reshape(parameter.shape)
            differences[name] = ((parameter.grad - own).abs().max() / own.abs().max()).item()
    worst = max(differences, key=differences.get)
    print(json.dumps({"loss": loss.item(), "of_loss": differences["loss"],
                      "largest": differences[worst], "at": worst}))
    return 0 if differences[worst] < 1e-3 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--embedding", choices=["bmm", "conv"], default="bmm")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--check", metavar="FILE")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(7)
    shape = PRESETS[options.preset]
    model = ChannelModel(form=options.embedding, **shape)
    if options.check:
        return check(model, options.check)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05)
    image = (options.batch, shape["channels"], shape["height"], shape["width"])
    x, target = torch.randn(image), torch.randn(image)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            prediction = model(x)
        loss = F.mse_loss(prediction.float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    step()  # memory is taken, primitives are made
    times, losses = [], []
    for _ in range(options.steps):
        start = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    print(json.dumps({
        "torch": torch.__version__, "preset": options.preset, "precision": options.precision,
        "embedding": options.embedding, "threads": options.threads, "batch": options.batch,
        "parameters": sum(p.numel() for p in model.parameters()), "step_seconds": seconds,
        "samples_per_second": options.batch / seconds,
        "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "loss": losses[-1]}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
