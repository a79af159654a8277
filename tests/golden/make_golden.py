#!/usr/bin/python3
"""Write the golden files beside this script: small models computed with PyTorch.

Each file holds the input, the masks, every parameter and its gradient under our names, the
prediction and the loss; tests/model/golden_test.cc holds the same configurations. The models are
written with plain tensor operations from the formulas in the headers of model/. Run with a Python
that has PyTorch (Debian: apt-get install python3-torch), only when a configuration changes.
"""
import json
import math
import pathlib
import struct

import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
B, C, SIZE, PATCH, D, HEADS, MLP_RATIO = 3, 5, 8, 2, 16, 2, 2
N = (SIZE // PATCH) ** 2
DEC, DEC_HEADS, DEC_DEPTH = 8, 2, 1
VISIBLE = N // 4
TARGETS, V = 2, 2


def save(path, tensors):
    """Write safetensors: u64 header length, JSON header, raw little-endian data."""
    header, data = {}, b""
    for name, t in tensors.items():
        dtype, t = ("I32", t.int()) if not t.is_floating_point() else ("F32", t.float())
        raw = t.detach().contiguous().numpy().tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(t.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class Table:
    """Parameters by name, drawn on first use with a spread that keeps every path alive."""

    def __init__(self):
        self.values = {}

    def __call__(self, name, *shape, around=0.0, std=None):
        if name not in self.values:
            std = std or (0.3 if len(shape) == 1 else 1.0 / math.sqrt(shape[-1]))
            value = around + std * torch.randn(*shape, dtype=torch.float64)
            # Rounded to float32, so that both programs start from the same numbers.
            self.values[name] = value.float().double().requires_grad_()
        return self.values[name]

    def linear(self, x, name, out, bias=True):
        w = self(name + ".weight", out, x.shape[-1])
        return F.linear(x, w, self(name + ".bias", out) if bias else None)

    def norm(self, x, name):
        dim = x.shape[-1]
        w, b = self(name + ".weight", dim, around=1.0), self(name + ".bias", dim)
        return F.layer_norm(x, (dim,), w, b, eps=1e-5)


def heads_of(x, heads):
    """[..., n, dim] -> [..., heads, n, dim of a head]"""
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def attend(q, k, v):
    a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1)
    return (a @ v).transpose(-2, -3).flatten(-2)


def transformer(p, x, prefix, depth, heads):
    dim = x.shape[-1]
    for i in range(depth):
        name = f"{prefix}blocks.{i}"
        qkv = p.linear(p.norm(x, name + ".norm1"), name + ".attn.qkv", 3 * dim)
        q, k, v = (heads_of(t, heads) for t in qkv.chunk(3, -1))
        x = x + p.linear(attend(q, k, v), name + ".attn.proj", dim)
        h = F.gelu(p.linear(p.norm(x, name + ".norm2"), name + ".mlp.fc1", MLP_RATIO * dim))
        x = x + p.linear(h, name + ".mlp.fc2", dim)
    return p.norm(x, prefix + "norm")


def patches(x):
    """[B, C, H, W] -> [B, N, p, p, C]"""
    g = SIZE // PATCH
    x = x.reshape(x.shape[0], x.shape[1], g, PATCH, g, PATCH)
    return torch.einsum("bcyphq->byhpqc", x).reshape(x.shape[0], N, PATCH, PATCH, -1)


def images(t):
    """[B, N, p * p * V] -> [B, V, H, W]"""
    g = SIZE // PATCH
    t = t.reshape(t.shape[0], g, g, PATCH, PATCH, -1)
    return torch.einsum("byhpqv->bvyphq", t).reshape(t.shape[0], -1, SIZE, SIZE)


def encode(p, x, kind, depth, visible=None, lead_hours=None):
    w = p("token_embeds.proj_weights", C, D, 1, PATCH, PATCH)
    tokens = torch.stack(
        [F.conv2d(x[:, c : c + 1], w[c], stride=PATCH).flatten(2).transpose(1, 2) for c in range(C)],
        2,
    )  # [B, N, C, D]
    tokens = tokens + p("token_embeds.proj_biases", C, D) + p("var_embed", 1, C, D)
    if kind == "linear":
        t = p.linear(tokens.transpose(-1, -2), "var_agg", 1).squeeze(-1)
    else:
        q = p.linear(p("var_query", 1, 1, D), "var_agg.q", D, bias=False)
        k, v = p.linear(tokens, "var_agg.kv", 2 * D, bias=False).chunk(2, -1)
        t = attend(heads_of(q, HEADS), heads_of(k, HEADS), heads_of(v, HEADS)).squeeze(-2)
        t = p.linear(t, "var_agg.proj", D)
    t = t + p("pos_embed", 1, N, D, std=0.5)
    if lead_hours is not None:
        t = t + p.linear(lead_hours[:, None] / 100, "lead_time_embed", D)[:, None]
    if visible is not None:
        t = torch.gather(t, 1, visible[..., None].expand(-1, -1, D))
    return transformer(p, t, "", depth, HEADS)


def mae(kind, depth, norm_pix):
    p = Table()
    x = torch.randn(B, C, SIZE, SIZE, dtype=torch.float64).float().double()
    shuffled = torch.argsort(torch.rand(B, N), 1)
    restore, visible = torch.argsort(shuffled, 1), shuffled[:, :VISIBLE]

    y = p.linear(encode(p, x, kind, depth, visible), "decoder_embed", DEC)
    mask_tokens = p("mask_token", 1, 1, DEC, std=0.5).expand(B, N - VISIBLE, DEC)
    y = torch.cat([y, mask_tokens], 1)
    y = torch.gather(y, 1, restore[..., None].expand(-1, -1, DEC))
    y = y + p("decoder_pos_embed", 1, N, DEC, std=0.5).detach()
    y = transformer(p, y, "decoder_", DEC_DEPTH, DEC_HEADS)
    prediction = p.linear(y, "decoder_pred", PATCH * PATCH * C)

    target = patches(x).flatten(2)
    if norm_pix:
        mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (var + 1e-6).sqrt()
    mask = (restore >= VISIBLE).double()
    loss = (((prediction - target) ** 2).mean(-1) * mask).sum() / mask.sum()
    extra = {"visible": visible, "ids_restore": restore}
    return p, loss, {"x": x, "prediction": prediction, **extra}


def forecast():
    p = Table()
    x = torch.randn(B, C, SIZE, SIZE, dtype=torch.float64).float().double()
    target = torch.randn(B, TARGETS, SIZE, SIZE, dtype=torch.float64).float().double()
    lead_hours = torch.tensor([6.0, 72.0, 240.0], dtype=torch.float64)
    latitudes = torch.linspace(-78.75, 78.75, SIZE, dtype=torch.float64)

    t = encode(p, x, "cross_attention", 2, lead_hours=lead_hours)
    for i in range(2):
        t = F.gelu(p.linear(t, f"head.{2 * i}", D))
    prediction = images(p.linear(t, "head.4", V * PATCH * PATCH))
    weight = torch.cos(torch.deg2rad(latitudes))
    weight = weight / weight.mean()
    loss = (weight[:, None] * (prediction - target) ** 2).mean()
    extra = {"target": target, "lead_hours": lead_hours}
    return p, loss, {"x": x, "prediction": prediction, **extra}


def write_model(name, made):
    p, loss, tensors = made
    loss.backward()
    tensors["loss"] = loss.reshape(1)
    for key, value in p.values.items():
        tensors["param/" + key] = value
        if value.grad is not None:
            tensors["grad/" + key] = value.grad
    save(HERE / f"{name}.safetensors", tensors)


def write_optimizer():
    """Three AdamW steps with a changing learning rate; `norm.bias` is not decayed."""
    values = {"weight": torch.randn(4, 6), "norm.bias": torch.randn(7)}
    params = {k: torch.nn.Parameter(v.clone()) for k, v in values.items()}
    groups = [
        {"params": [params["weight"]], "weight_decay": 0.05},
        {"params": [params["norm.bias"]], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    tensors = {f"before/{k}": v for k, v in values.items()}
    for step in range(3):
        for group in adamw.param_groups:
            group["lr"] = 1e-2 / (step + 1)
        for key, param in params.items():
            param.grad = torch.randn_like(param)
            tensors[f"grad{step}/{key}"] = param.grad.clone()
        adamw.step()
    tensors.update({f"after/{k}": v for k, v in params.items()})
    save(HERE / "adamw.safetensors", tensors)


if __name__ == "__main__":
    torch.manual_seed(20)
    write_model("mae_cross_attention", mae("cross_attention", depth=2, norm_pix=False))
    write_model("mae_cross_attention_norm_pix", mae("cross_attention", depth=1, norm_pix=True))
    write_model("mae_linear", mae("linear", depth=1, norm_pix=False))
    write_model("forecast_cross_attention", forecast())
    write_optimizer()
