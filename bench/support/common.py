"""Shared by the benchmarks in Python: running programs, and small helpers."""

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Failure(Exception):
    """A point that did not run to its end."""


def numbers(text):
    return [int(part) for part in text.split(",")]


def words(text):
    return text.split(",")


def call(command, timeout):
    """Run a command without what the environment says about OpenBLAS; give its output."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun ends its ranks
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        raise Failure(f"no result after {timeout:g} s") from None
    if process.returncode != 0:
        told = [line for line in err.splitlines() if line.startswith("error")] or err.splitlines()
        raise Failure(told[0] if told else f"exit code {process.returncode}")
    return out


def on_cores(count):
    """The start of a command that is kept on so many of this machine's cores: with one thread that
    reads, others still compute on the rest."""
    return ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))]


def mpirun(program, ranks):
    """The start of a command that runs something on so many ranks of this machine."""
    return [program, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", ranks]


def build(target, *options):
    """Build a target of the preset release; give the folder of the build."""
    # A folder that was configured without benches, as the quickstart does, keeps that otherwise.
    for command in (["cmake", "--preset", "release", "-DTRIB_BUILD_BENCH=ON", *options],
                    ["cmake", "--build", "--preset", "release", "--target", target]):
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    return REPOSITORY / "build/release"


def find_programs(options):
    """Build those of --program (trib) and --limit (bench_inflate_limit) that are not given."""
    options.program = options.program or build("trib") / "trib"
    options.limit = options.limit or build("bench_inflate_limit") / "bench/bench_inflate_limit"
