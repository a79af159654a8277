#!/usr/bin/python3
"""Write resize_position_embedding.safetensors beside this script, computed with PyTorch.

Each case holds position embeddings of a grid and the same resized to another grid as MAE's
interpolate_pos_embed and timm's resample_abs_pos_embed(antialias=False) do it. Names are
"HxW.from" ([1, H * W, D]) and "HxW.to_HxW". Run with a Python that has PyTorch (Debian: apt-get
install python3-torch), only when a case changes.
"""
import torch
import torch.nn.functional as F

from make_golden import HERE, save

DIM = 5
CASES = [((4, 4), [(8, 8), (3, 3), (7, 5)]), ((3, 6), [(6, 12), (2, 4)]), ((1, 1), [(2, 3)])]


def resize(embed, grid, new_grid):
    image = embed.reshape(1, *grid, DIM).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=new_grid, mode="bicubic", align_corners=False)
    return image.permute(0, 2, 3, 1).reshape(1, -1, DIM)


if __name__ == "__main__":
    torch.manual_seed(3)
    tensors = {}
    for grid, new_grids in CASES:
        name = "%dx%d" % grid
        embed = torch.randn(1, grid[0] * grid[1], DIM)
        tensors[name + ".from"] = embed
        for new_grid in new_grids:
            tensors[name + ".to_%dx%d" % new_grid] = resize(embed, grid, new_grid)
    save(HERE / "resize_position_embedding.safetensors", tensors)
