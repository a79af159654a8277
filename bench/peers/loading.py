"""What the peers that read share: arguments, and the time of batches."""

import argparse
import json
import time

import torch
from torch.utils.data import DataLoader


def parser(description, samples, warmup, size):
    result = argparse.ArgumentParser(description=description)
    result.add_argument("file")
    result.add_argument("--workers", type=int, default=2)
    result.add_argument("--samples", type=int, default=samples)
    result.add_argument("--warmup", type=int, default=warmup, help="samples before these")
    result.add_argument("--batch", type=int, default=16)
    result.add_argument("--size", type=int, default=size, help="pixels of a sample's side")
    result.add_argument("--seed", type=int, default=7)
    return result


def measure(dataset, options):
    """Read the samples of warm-up and measurement in batches; print the rate as JSON."""
    torch.set_num_threads(1)
    loader = DataLoader(dataset, batch_size=options.batch, num_workers=options.workers,
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
