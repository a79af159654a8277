#!/bin/bash
# Run most benches once, write the figures to a CSV file, compare with another run: see --help.
#
#   bench/run.sh [--out FILE] [--compare OLD.csv]
set -euo pipefail
exec python3 "$(dirname "$0")/regression/run.py" "$@"
