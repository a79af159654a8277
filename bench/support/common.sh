# Sourced by the end-to-end benchmarks: where things are, and small helpers.
#
# TRIB      the program (default: build/release/trib of this repository)
# REPEATS   how often each measurement is repeated; medians are printed

set -euo pipefail
export LC_ALL=C

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
trib=${TRIB:-$repository/build/release/trib}
bench_kernels=${BENCH_KERNELS:-$repository/build/release/bench/bench_kernels}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

[[ -x $trib ]] || { echo "error: no program $trib: build it or set TRIB" >&2; exit 2; }

# What the environment may say about OpenBLAS is for other machines: without it, the library takes
# the kernels of this processor.
own_blas() { env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE "$@"; }

# json FILE KEY.KEY...: a value of a JSON file.
json() {
  python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[key]
print(value)' "$1" "$2"
}

# compute EXPRESSION: Python arithmetic.
compute() { python3 -c "print($1)"; }

# median NUMBER...
median() { python3 -c 'import statistics, sys; print(statistics.median(map(float, sys.argv[1:])))' "$@"; }

# run_graph GRAPH FOLDER ARGUMENT...: run it quietly with the processor's own BLAS kernels.
run_graph() {
  local graph=$1 folder=$2
  shift 2
  own_blas "$trib" run --quiet --run-dir "$folder" "$graph" "$@" >"$folder.log" ||
    { cat "$folder.log" >&2; return 1; }
}
