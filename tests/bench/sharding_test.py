"""bench/sharding on a tiny grid: what it prints of memory, traffic and overlap.

  sharding_test.py BENCH PROGRAM MPIRUN
"""

import sys
import tempfile
import unittest
from pathlib import Path

from bench_testing import BENCH, read_rows, run

sys.path.insert(0, str(Path(BENCH).parent))
sys.dont_write_bytecode = True
from hidden import overlap_of  # noqa: E402


class QuickGrid(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.result = run(cls.folder.name)
        if cls.result.returncode != 0:
            raise AssertionError(cls.result.stdout + cls.result.stderr)
        cls.rows = {(row["ranks"], row["strategy"]): row for row in read_rows(cls.folder.name)}

    def test_runs_every_strategy_on_every_number_of_ranks(self):
        strategies = ["none", "grad_op", "full"]
        self.assertEqual(list(self.rows), [(ranks, strategy) for ranks in "124"
                                           for strategy in strategies] + [("4", "hybrid")])
        for row in self.rows.values():
            self.assertEqual((row["status"], row["wrong"]), ("ok", ""))
            self.assertGreater(float(row["step_seconds"]), 0)

    def test_ranks_hold_their_part(self):
        whole = int(self.rows["1", "none"]["parameters_bytes"])
        self.assertGreater(whole, 4 * int(self.rows["1", "none"]["parameters"]))
        for (ranks, strategy), parts in {("2", "none"): (1, 1), ("2", "grad_op"): (1, 2),
                                         ("2", "full"): (2, 2), ("4", "full"): (4, 4),
                                         ("4", "hybrid"): (2, 2)}.items():
            row = self.rows[ranks, strategy]
            for kind, part, of_whole in [("parameters", parts[0], 1), ("gradients", parts[1], 1),
                                         ("optimizer", parts[1], 2)]:
                held = int(row[f"{kind}_bytes"]) * part / of_whole
                # Units are padded to equal shards.
                self.assertTrue(whole <= held <= 1.02 * whole, (ranks, strategy, kind, held))

    def test_rings_send_what_is_published_but_for_the_last_unit(self):
        for (ranks, strategy), row in self.rows.items():
            ring, published = float(row["ring_bytes"]), float(row["textbook_bytes"])
            if strategy in ("none", "grad_op") or ranks == "1":
                self.assertEqual(ring, published)
            else:
                self.assertLess(ring, published)
                self.assertGreater(ring, 0.95 * published)

    def test_ratios_are_to_none_on_the_same_ranks(self):
        for (ranks, _), row in self.rows.items():
            expected = float(row["step_seconds"]) / float(self.rows[ranks, "none"]["step_seconds"])
            self.assertAlmostEqual(float(row["step_ratio"]), expected, places=9)

    def test_hidden_shares_are_shares(self):
        for (ranks, strategy), row in self.rows.items():
            if ranks == "1":
                self.assertEqual(row["reductions_hidden_share"], "")
                continue
            self.assertGreater(float(row["reductions_seconds"]), 0)
            self.assertTrue(0 <= float(row["reductions_hidden_share"]) <= 1)
            is_gathered = strategy in ("full", "hybrid")
            self.assertEqual(float(row["gathers_seconds"]) > 0, is_gathered)

    def test_prints_a_verdict_a_row(self):
        # Ten rows of memory, seven of traffic.
        self.assertEqual(self.result.stdout.count(" equal\n"), 17, self.result.stdout)
        self.assertNotIn("DIFFERENT", self.result.stdout)


class Trace(unittest.TestCase):
    def test_hidden_is_what_no_thread_was_blocked_by(self):
        def span(category, name, start, end, **arguments):
            return {"ph": "X", "pid": 0, "tid": 0, "cat": category, "name": name, "ts": start,
                    "dur": end - start, "args": arguments}

        events = [
            {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": "rank 0"}},
            span("optimizer", "train", 0, 100),
            span("backward", "recon", 1000, 2000),
            span("backward", "encoder", 2000, 4000),
            span("communication", "wait for gradients", 4000, 5000),
            span("collective", "reduce_scatter shard", 1500, 2500, phase="backward", queued_us=100,
                 waited_us=0),
            span("collective", "all_reduce data", 3500, 4500, phase="backward", queued_us=0,
                 waited_us=500),
            span("collective", "all_gather shard", 900, 1100, phase="backward", queued_us=50,
                 waited_us=250),
            span("collective", "all_gather shard", 500, 600, phase="forward", queued_us=0,
                 waited_us=0),
            span("collective", "all_reduce world", 1200, 1300, phase="backward", queued_us=0,
                 waited_us=0),
            span("optimizer", "train", 5000, 5100),
        ]
        overlap = overlap_of(events, skip=1)
        expected = {"reductions_seconds": 2100e-6, "reductions_hidden_seconds": 1600e-6,
                    "gathers_seconds": 250e-6, "gathers_hidden_seconds": 0,
                    "wait_seconds": 1000e-6}
        self.assertEqual(set(overlap), set(expected))
        for name, value in expected.items():
            self.assertAlmostEqual(overlap[name], value, places=12, msg=name)


class Failures(unittest.TestCase):
    def test_points_that_fail_are_named_and_counted(self):
        with tempfile.TemporaryDirectory() as folder:
            # Three ranks cannot share a batch of four.
            result = run(folder, "--ranks", "1,3", "--strategies", "full")
            self.assertEqual(result.returncode, 1)
            self.assertEqual([row["status"] for row in read_rows(folder)], ["ok", "failed"])
            self.assertIn("3 ranks, full", result.stderr)
            self.assertIn("of 2 points 1 failed", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
