"""bench/dchag on a tiny grid: well-formed files, and what D-CHAG promises to send and to keep.

  dchag_test.py BENCH PROGRAM MPIRUN
"""

import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bench_testing import BENCH, PROGRAM, read_rows, run

SVG = "{http://www.w3.org/2000/svg}"


class QuickGrid(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.result = run(cls.folder.name)
        if cls.result.returncode != 0:
            raise AssertionError(cls.result.stdout + cls.result.stderr)
        cls.rows = read_rows(cls.folder.name)
        cls.modes = subprocess.run([PROGRAM, "--list-modes"], check=True, capture_output=True,
                                   text=True).stdout.split()

    def test_runs_every_mode_of_every_point(self):
        self.assertEqual(len(self.modes), 14)
        self.assertEqual([(row["channels"], row["ranks"], row["mode"]) for row in self.rows],
                         [(channels, "2", mode) for channels in ("8", "16")
                          for mode in self.modes])
        for row in self.rows:
            self.assertEqual(row["status"], "ok", row["note"])
            self.assertGreater(float(row["samples_per_second"]), 0)

    def test_dchag_sends_one_gather_forward_and_none_backward(self):
        dchag = [row for row in self.rows if "dchag" in row["mode"]]
        self.assertEqual(len(dchag), 2 * 9)
        for row in dchag:
            tokens = 4 * int(row["batch"]) * int(row["tokens"]) * int(row["dim"])
            self.assertEqual(tokens, 4 * 2 * 16 * 32)
            self.assertEqual(float(row["forward_all_gather_calls"]), 1)
            self.assertEqual(int(row["forward_all_gather_bytes"]), tokens)
            self.assertEqual(float(row["backward_all_gather_calls"]), 0)
            self.assertEqual(float(row["backward_reduce_scatter_calls"]), 0)

    def test_the_baseline_sends_the_gradient_of_all_tokens(self):
        for row in self.rows:
            if row["mode"] == "baseline":
                tokens = 4 * int(row["batch"]) * int(row["tokens"]) * int(row["dim"])
                self.assertEqual(float(row["forward_all_gather_calls"]), 0)
                self.assertGreater(int(row["backward_all_reduce_bytes"]),
                                   int(row["channels"]) * tokens)

    def test_ratios_are_to_the_baseline_of_the_same_point(self):
        baseline = {row["channels"]: row for row in self.rows if row["mode"] == "baseline"}
        for row in self.rows:
            for name, column in [("activations", "activations_bytes"), ("ledger", "ledger_bytes"),
                                 ("samples_per_second", "samples_per_second")]:
                expected = float(row[column]) / float(baseline[row["channels"]][column])
                self.assertAlmostEqual(float(row[f"{name}_ratio"]), expected, places=9)

    def test_memory_is_as_predicted(self):
        for row in self.rows:
            self.assertEqual(int(row["ledger_bytes"]), int(row["predicted_bytes"]))

    def test_unfused_linear_aggregation_keeps_less_than_the_baseline(self):
        for row in self.rows:
            if row["mode"] == "dchag_l0":
                self.assertLess(float(row["activations_ratio"]), 1)

    def test_draws_a_line_a_mode(self):
        root = ElementTree.parse(Path(self.folder.name) / "dchag.svg").getroot()
        self.assertEqual(root.tag, f"{SVG}svg")
        lines = root.findall(f"{SVG}polyline")
        self.assertEqual(len(lines), len(self.modes))
        for line in lines:
            self.assertEqual(len(line.get("points").split()), 2)
        words = [text.text for text in root.iter(f"{SVG}text")]
        for expected in ["input channels", "memory ledger of a rank, MB", *self.modes]:
            self.assertIn(expected, words)

    def test_prints_every_mode(self):
        for mode in self.modes:
            self.assertRegex(self.result.stdout, rf"(?m)^  {mode} +\d")


class LeftOut(unittest.TestCase):
    def test_points_above_the_memory_limit_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            result = run(folder, "--memory-limit", "0", "--modes", "baseline,dchag_l0")
            self.assertEqual(result.returncode, 0, result.stderr)
            rows = read_rows(folder)
            self.assertEqual([row["status"] for row in rows], ["skipped"] * 4)
            self.assertGreater(int(rows[0]["predicted_total_bytes"]), 0)
            self.assertIn("--memory-limit is 0", result.stdout)
            root = ElementTree.parse(Path(folder) / "dchag.svg").getroot()
            self.assertEqual(len(root.findall(f"{SVG}polyline")), 2)

    def test_points_that_fail_are_named_and_counted(self):
        with tempfile.TemporaryDirectory() as folder:
            # The 2 channels of a rank cannot form 4 groups.
            result = run(folder, "--channels", "4", "--modes", "baseline,dchag_c4")
            self.assertEqual(result.returncode, 1)
            self.assertEqual([row["status"] for row in read_rows(folder)], ["ok", "failed"])
            self.assertIn("tree 4 makes 4 groups of the 2 channels", result.stdout)
            self.assertIn("1 of 2 points failed", result.stderr)

    def test_a_run_that_takes_too_long_is_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            result = run(folder, "--channels", "8", "--modes", "baseline", "--steps", "100000000",
                         "--timeout", "2")
            self.assertEqual(result.returncode, 1)
            self.assertIn("no result after 2 s", result.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
