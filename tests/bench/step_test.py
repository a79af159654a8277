"""bench_step: what it says of steps and kernels adds up.

  step_test.py STEP PROGRAM MPIRUN

STEP is bench/step, the folder of its scripts.
"""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

STEP, PROGRAM, MPIRUN = sys.argv[1:4]


def run(*arguments, ranks=1):
    command = [PROGRAM, "--json", "--steps", "2", "--warmup", "1", "--threads", "1", *arguments]
    if ranks > 1:
        command = [MPIRUN, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n",
                   str(ranks), *command]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Step(unittest.TestCase):
    def test_rates_follow_from_the_step(self):
        step = run("--preset", "satellite_mae")
        self.assertEqual(step["batch"], 16)
        self.assertAlmostEqual(step["samples_per_second"] * step["step_seconds"], 16, places=6)
        self.assertAlmostEqual(step["gflops"] * step["step_seconds"], step["gflop"], places=6)
        self.assertAlmostEqual(step["peak_fraction"] * step["gemm_peak_gflops"], step["gflops"],
                               places=6)
        self.assertGreater(step["rss_bytes"], step["activation_bytes"])

    def test_the_model_is_that_of_the_graph(self):
        # What `trib validate` says of the graph on sample data.
        self.assertEqual(run("--preset", "satellite_mae")["parameters"], 995808)

    def test_shares_of_kernels_add_up_to_the_step(self):
        step = run("--preset", "hyperspectral_mae", "--profile")
        self.assertAlmostEqual(sum(kernel["share"] for kernel in step["kernels"]), 1, places=6)
        self.assertEqual(step["kernels"][-1]["kernel"], "outside kernels")
        self.assertGreaterEqual(step["kernels"][-1]["share"], 0)

    def test_ranks_share_the_batch_of_one(self):
        one = run("--preset", "hyperspectral_mae", "--batch", "4")
        two = run("--preset", "hyperspectral_mae", "--batch", "4", ranks=2)
        self.assertEqual(two["batch"], 4)
        self.assertEqual(two["threads"], 2)
        self.assertEqual(two["gflop"], one["gflop"])
        self.assertLess(two["activation_bytes"], one["activation_bytes"])

    def test_recomputing_keeps_less(self):
        kept = run("--preset", "satellite_mae")
        again = run("--preset", "satellite_mae", "--recompute", "1")
        self.assertLess(again["activation_bytes"], kept["activation_bytes"])
        self.assertAlmostEqual(again["loss"], kept["loss"], places=6)

    def test_unknown_preset_is_an_error_of_configuration(self):
        result = subprocess.run([PROGRAM, "--preset", "vit"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn("vit_s_144", result.stderr)

    def test_script_prints_tables(self):
        result = subprocess.run(
            [sys.executable, Path(STEP) / "run.py", "--program", PROGRAM, "--presets",
             "hyperspectral_mae,satellite_mae", "--steps", "1", "--threads", "1"],
            capture_output=True, text=True, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| `satellite_mae` | 16 |", result.stdout)
        self.assertEqual(result.stdout.count("| outside kernels |"), 2)

    def test_comparison_of_threads_and_ranks(self):
        result = subprocess.run(
            [sys.executable, Path(STEP) / "compare.py", "--program", PROGRAM, "--mpirun", MPIRUN,
             "--presets", "hyperspectral_mae", "--precisions", "fp32", "--only", "scaling",
             "--repeats", "1", "--steps", "1"],
            capture_output=True, text=True, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| `hyperspectral_mae` | fp32 |", result.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
