"""What the peers that train share: arguments, timed steps, and gradients beside those of bench_step."""

import argparse
import json
import resource
import statistics
import struct
import time

import numpy
import torch


def parser(description, batch, steps):
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    result.add_argument("--threads", type=int, default=2)
    result.add_argument("--steps", type=int, default=steps)
    result.add_argument("--warmup", type=int, default=2, help="steps before these")
    result.add_argument("--batch", type=int, default=batch)
    result.add_argument("--check", metavar="FILE",
                        help="compare with what `bench_step --dump FILE` computed")
    return result


def parse(arguments):
    """The options; random numbers and threads of PyTorch are set."""
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(7)
    return options


def measure(model, loss_of, options, **told):
    """Time steps of AdamW and print them as JSON. loss_of(autocast) gives the loss of the model."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05)

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16")

    seconds = []
    for i in range(options.warmup + options.steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(autocast)
        loss.backward()
        optimizer.step()
        last = loss.item()
        if i >= options.warmup:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(json.dumps({
        "torch": torch.__version__, "precision": options.precision, **told,
        "threads": options.threads, "batch": options.batch,
        "parameters": sum(p.numel() for p in model.parameters()), "step_seconds": median,
        "samples_per_second": options.batch / median,
        "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "loss": last}))


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


def difference(gradient, ours):
    """The largest, relative to the largest element of ours."""
    ours = ours.reshape(gradient.shape)
    return ((gradient - ours).abs().max() / ours.abs().max()).item()


def verdict(loss, ours, differences):
    """Print how far the loss and the gradients are from ours; the exit code."""
    differences = {"loss": abs(loss.item() / ours["loss"].item() - 1), **differences}
    worst = max(differences, key=differences.get)
    print(json.dumps({"loss": loss.item(), "of_loss": differences["loss"],
                      "largest": differences[worst], "at": worst}))
    return 0 if differences[worst] < 1e-3 else 1
