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

import torch
import torch.nn.functional as F
from torch import nn

import training


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


def check(model, path):
    """Compare the loss and all gradients."""
    ours = training.read_safetensors(path)
    take_parameters(model, ours)
    loss = F.mse_loss(model(ours["x"]), model.patches(ours["target"]))
    loss.backward()
    differences = {
        name: training.difference(parameter.grad,
                                  ours["gradient." + name.replace("head.", "head.0.")])
        for name, parameter in model.named_parameters()
        if not name.startswith(("patch_embed", "pos_embed"))}  # the latter is fixed in ours
    # Of the Conv2d, through what its weight is made of.
    weight = ours["parameter.var_agg.weight"].flatten()
    differences["patch_embed.weight"] = training.difference(
        model.patch_embed.weight.grad.transpose(0, 1) * weight[:, None, None, None],
        ours["gradient.token_embeds.proj_weights"])
    return training.verdict(loss, ours, differences)


def main():
    parser = training.parser(__doc__.splitlines()[0], batch=16, steps=10)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--heads", type=int, default=6)
    options = training.parse(parser)
    model = VisionTransformer(3, options.size, options.patch, options.dim, options.depth,
                              options.heads)
    if options.check:
        return check(model, options.check)
    x = torch.rand(options.batch, 3, options.size, options.size) * 2 - 1
    target = model.patches(torch.rand_like(x) * 2 - 1)

    def loss_of(autocast):
        with autocast():
            prediction = model(x)
        return F.mse_loss(prediction.float(), target)

    training.measure(model, loss_of, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
