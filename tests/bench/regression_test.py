"""bench/run.sh: one file of figures, and what changed between two.

  regression_test.py RUN PROGRAM MPIRUN

PROGRAM is bench_step, in the build's folder bench.
"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

RUN, PROGRAM = sys.argv[1:3]
sys.path.insert(0, str(Path(RUN).parent / "regression"))
sys.dont_write_bytecode = True
import figures  # noqa: E402
from figures import Figure  # noqa: E402


def run(*arguments, cwd=None):
    return subprocess.run([RUN, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def machine(sgemm, copy):
    return [Figure("machine", "all threads", "sgemm", sgemm, "GFLOP/s", "higher"),
            Figure("machine", "all threads", "copy", copy, "GB/s", "higher")]


class Comparison(unittest.TestCase):
    def verdicts(self, old, new, sgemm=(100, 100), copy=(10, 10)):
        found = figures.changes(machine(sgemm[0], copy[0]) + [old], machine(sgemm[1], copy[1]) + [new])
        self.assertEqual(len(found), 1)
        return found[0].verdict

    def rate(self, value, unit="GFLOP/s"):
        return Figure("kernels", "linear", "rate", value, unit, "higher")

    def test_noise_does_not_count(self):
        self.assertEqual(self.verdicts(self.rate(100), self.rate(95)), "")
        self.assertEqual(self.verdicts(self.rate(100), self.rate(80)), "worse")
        self.assertEqual(self.verdicts(self.rate(100), self.rate(120)), "better")

    def test_a_slower_machine_is_no_slower_program(self):
        self.assertEqual(self.verdicts(self.rate(100), self.rate(50), sgemm=(200, 100)), "")
        self.assertEqual(self.verdicts(self.rate(100), self.rate(100), sgemm=(200, 100)), "better")
        self.assertEqual(self.verdicts(self.rate(40, "GB/s"), self.rate(20, "GB/s"), copy=(50, 25)),
                         "")
        self.assertEqual(self.verdicts(self.rate(40, "GB/s"), self.rate(20, "GB/s"),
                                       sgemm=(200, 100)), "worse")

    def test_times_and_bytes_are_better_low(self):
        def seconds(value):
            return Figure("era5", "step", "seconds", value, "s", "lower")

        def size(value):
            return Figure("step", "vit", "activations", value, "B", "lower")

        self.assertEqual(self.verdicts(seconds(1), seconds(2)), "worse")
        self.assertEqual(self.verdicts(seconds(1), seconds(2), sgemm=(200, 100)), "")
        self.assertEqual(self.verdicts(size(100), size(104), sgemm=(200, 100)), "worse")
        self.assertEqual(self.verdicts(size(100), size(101)), "")

    def test_what_is_gone_or_added_is_told(self):
        old = machine(100, 10) + [self.rate(1)]
        new = machine(100, 10) + [Figure("kernels", "gelu", "rate", 1, "GB/s", "higher")]
        text, worse = figures.comparison(old, new)
        self.assertFalse(worse)
        self.assertIn("gone: 1 figures, such as kernels linear rate", text)
        self.assertIn("added: 1 figures, such as kernels gelu rate", text)


class Run(unittest.TestCase):
    def test_figures_go_to_a_file_that_compares_with_itself(self):
        programs = Path(PROGRAM).parent.parent
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "figures.csv"
            result = run("--quick", "--programs", programs, "--only", "machine,kernels,step",
                         "--presets", "hyperspectral_mae", "--filter", "gelu.*131072",
                         "--out", out)
            self.assertEqual(result.returncode, 0, result.stderr)
            written = figures.read(out)
            self.assertEqual({figure.bench for figure in written}, {"machine", "kernels", "step"})
            for figure in written:
                self.assertGreater(figure.value, 0, figure)
                self.assertIn(figure.better, ("higher", "lower"))
                self.assertTrue(figure.commit and figure.date and figure.blas, figure)
            same = run("--compare", out, "--with", out)
            self.assertEqual(same.returncode, 0, same.stderr)
            self.assertIn("0 worse, 0 better", same.stdout)

            half = [figure for figure in figures.read(out)]
            for figure in half:
                if figure.bench == "kernels":
                    figure.value /= 2
            slower = Path(folder) / "slower.csv"
            figures.write(slower, half)
            worse = run("--compare", out, "--with", slower)
            self.assertEqual(worse.returncode, 1)
            self.assertIn("-50.0%", worse.stdout)

    def test_unknown_sets_are_refused(self):
        self.assertEqual(run("--only", "kernel").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
