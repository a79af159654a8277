#!/usr/bin/python3
"""Random windows of a raster as batches of float32, by PyTorch's DataLoader and rasterio.

    bench/peers/raster_dataloader.py FILE [--workers 2] [--samples 2000] [--warmup 500]

Each worker opens the file once and keeps the handle; a sample is a windowed read, converted and
scaled in numpy; workers live for the whole run and prefetch. The window of a sample is drawn from
its number, so no lists of windows travel between processes. GDAL caches decoded blocks in each
worker (GDAL_CACHEMAX, 5 % of the memory unless set). Prints JSON: samples a second from after the
warm-up, the batches handed out by then apart.
"""

import numpy
import rasterio
import torch
from rasterio.windows import Window
from torch.utils.data import Dataset

import loading


class RandomWindows(Dataset):
    def __init__(self, path, size, count, scale, seed):
        self.path, self.size, self.count, self.scale, self.seed = path, size, count, scale, seed
        self.raster = None
        with rasterio.open(path) as raster:
            self.height, self.width = raster.shape

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if self.raster is None:
            self.raster = rasterio.open(self.path)
        random = numpy.random.default_rng((self.seed, index))
        y = int(random.integers(self.height - self.size + 1))
        x = int(random.integers(self.width - self.size + 1))
        stored = self.raster.read(window=Window(x, y, self.size, self.size))
        pixels = stored.astype(numpy.float32)
        pixels *= self.scale
        return torch.from_numpy(pixels)


def main():
    parser = loading.parser(__doc__.splitlines()[0], samples=2000, warmup=500, size=128)
    parser.add_argument("--scale", type=float, default=1e-4)
    options = parser.parse_args()
    windows = RandomWindows(options.file, options.size, options.warmup + options.samples,
                            numpy.float32(options.scale), options.seed)
    loading.measure(windows, options)


if __name__ == "__main__":
    main()
