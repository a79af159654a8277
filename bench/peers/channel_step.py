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
import torch
from torch import nn
from torch.nn import functional as F

import training
from vit_step import Block

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
    return parameter


def check(model, path):
    """Compare the loss and all gradients."""
    ours = training.read_safetensors(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(ours["parameter." + name_of(name)].reshape(parameter.shape))
    loss = F.mse_loss(model(ours["x"]), ours["target"])
    loss.backward()
    return training.verdict(loss, ours, {
        name: training.difference(parameter.grad, ours["gradient." + name_of(name)])
        for name, parameter in model.named_parameters()
        if name != "position"})  # fixed in ours


def main():
    parser = training.parser(__doc__.split("\n")[0], batch=4, steps=5)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--embedding", choices=["bmm", "conv"], default="bmm")
    options = training.parse(parser)
    shape = PRESETS[options.preset]
    model = ChannelModel(form=options.embedding, **shape)
    if options.check:
        return check(model, options.check)
    image = (options.batch, shape["channels"], shape["height"], shape["width"])
    x, target = torch.randn(image), torch.randn(image)

    def loss_of(autocast):
        with autocast():
            prediction = model(x)
        return F.mse_loss(prediction.float(), target)

    training.measure(model, loss_of, options, preset=options.preset, embedding=options.embedding)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
