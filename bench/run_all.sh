#!/bin/bash
# Run the end-to-end benchmarks one after the other and print their tables.
#
#   bench/run_all.sh
set -euo pipefail
cd "$(dirname "$0")"
for bench in overlap memory era5_step; do
  ./$bench.sh
  echo
done
