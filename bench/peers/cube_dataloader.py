#!/usr/bin/python3
"""Random crops of an HDF5 cube as batches of float32, by PyTorch's DataLoader and h5py.

    bench/peers/cube_dataloader.py FILE [--workers 2] [--samples 500] [--warmup 100] [--cache-mb N]

Each worker opens the file once and keeps the handle; a sample is one read of [y, x, band], which
h5py leaves where PyTorch wants it, turned to [band, y, x]; workers live for the whole run and
prefetch. The crop of a sample is drawn from its number, so no lists travel between processes.
--cache-mb is libhdf5's cache of decoded chunks in each worker (it is 1 MB if nobody asks for more).
Prints JSON: samples a second from after the warm-up, the batches handed out by then apart.
"""

import argparse
import json
import time

import h5py
import numpy
import torch
from torch.utils.data import DataLoader, Dataset


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--dataset", default="reflectance")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--cache-mb", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    torch.set_num_threads(1)
    total = options.warmup + options.samples
    crops = RandomCrops(options.file, options.dataset, options.size, total,
                        options.cache_mb << 20, options.seed)
    loader = DataLoader(crops, batch_size=options.batch, num_workers=options.workers,
                        persistent_workers=options.workers > 0, drop_last=True,
                        prefetch_factor=4 if options.workers > 0 else 2)
    seen = 0
    start_seen = start = None
    for batch in loader:
        if start is None and seen >= options.warmup:
            start, start_seen = time.perf_counter(), seen
        seen += len(batch)
    seconds = time.perf_counter() - start
    print(json.dumps({"samples": seen - start_seen, "seconds": seconds,
                      "samples_per_second": (seen - start_seen) / seconds,
                      "shape": list(batch.shape)}))


if __name__ == "__main__":
    main()
