"""What the tests of benches share. They are called with BENCH PROGRAM MPIRUN."""

import csv
import subprocess
import sys
from pathlib import Path

BENCH, PROGRAM, MPIRUN = sys.argv[1:4]


def run(folder, *arguments):
    """Run the bench on its tiny grid; its files go to the folder."""
    return subprocess.run([sys.executable, BENCH, "--quick", "--program", PROGRAM, "--mpirun",
                           MPIRUN, "--out", folder, *arguments], capture_output=True, text=True)


def read_rows(folder):
    """The rows of the table the bench wrote."""
    with open(Path(folder) / (Path(BENCH).stem + ".csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
