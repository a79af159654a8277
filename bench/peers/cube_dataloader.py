#!/usr/bin/python3
"""Random crops of an HDF5 cube as batches of float32, by PyTorch's DataLoader and h5py.

    bench/peers/cube_dataloader.py FILE [--workers 2] [--samples 500] [--warmup 100] [--cache-mb N]

Each worker opens the file once and keeps the handle; a sample is one read of [y, x, band], which
h5py leaves where PyTorch wants it, turned to [band, y, x]; workers live for the whole run and
prefetch. The crop of a sample is drawn from its number, so no lists travel between processes.
--cache-mb is libhdf5's cache of decoded chunks in each worker (it is 1 MB if nobody asks for more).
Prints JSON: samples a second from after the warm-up, the batches handed out by then apart.
"""

import h5py
import numpy
import torch
from torch.utils.data import Dataset

import loading


class RandomCrops(Dataset):
    def __init__(self, path, dataset, size, count, cache_bytes, seed):
        self.path, self.dataset, self.size, self.count = path, dataset, size, count
        self.cache_bytes, self.seed = cache_bytes, seed
        self.cube = None
        with h5py.File(path, "r") as file:
            self.height, self.width = file[dataset].shape[:2]

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if self.cube is None:
            # Slots of the cache's table: some per chunk, prime.
            file = h5py.File(self.path, "r", rdcc_nbytes=self.cache_bytes, rdcc_nslots=1_000_003)
            self.cube = file[self.dataset]
        random = numpy.random.default_rng((self.seed, index))
        y = int(random.integers(self.height - self.size + 1))
        x = int(random.integers(self.width - self.size + 1))
        pixels = self.cube[y:y + self.size, x:x + self.size]
        return torch.from_numpy(numpy.ascontiguousarray(pixels.transpose(2, 0, 1)))


def main():
    parser = loading.parser(__doc__.splitlines()[0], samples=500, warmup=100, size=32)
    parser.add_argument("--dataset", default="reflectance")
    parser.add_argument("--cache-mb", type=int, default=1)
    options = parser.parse_args()
    crops = RandomCrops(options.file, options.dataset, options.size,
                        options.warmup + options.samples, options.cache_mb << 20, options.seed)
    loading.measure(crops, options)


if __name__ == "__main__":
    main()
