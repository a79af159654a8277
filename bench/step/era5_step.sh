#!/bin/bash
# How much of the machine does a training step reach? The step of graphs/era5_forecast.yaml on sample
# data, beside the peak of sgemm measured in the same minute, with OpenBLAS's kernels for this
# processor and, if the environment pins others, with those as well. Then where a step spends its time.
#
#   bench/step/era5_step.sh
#
# REPEATS (5)   interleaved repetitions, of which medians are printed
# STEPS (40)    steps of a repetition
. "$(dirname "$0")/../support/common.sh"
[[ -x $bench_kernels ]] ||
  { echo "error: no program $bench_kernels: build it or set BENCH_KERNELS" >&2; exit 2; }

repeats=${REPEATS:-5}
steps=${STEPS:-40}
graph=$repository/graphs/era5_forecast.yaml
"$trib" sample-data "$scratch/data" >/dev/null
export TRIB_DATA=$scratch/data
"$trib" validate --json "$graph" >"$scratch/plan.json"
gflop=$(compute "$(json "$scratch/plan.json" flops_per_step_and_rank) / 1e9")

own() { own_blas "$@"; }
pinned() { "$@"; }
settings=(own)
[[ -n ${OPENBLAS_CORETYPE:-}${OPENBLAS_L2_SIZE:-} ]] && settings+=(pinned)

for ((i = 0; i < repeats; ++i)); do
  for setting in "${settings[@]}"; do
    "$setting" "$bench_kernels" --peak >"$scratch/peak-$setting-$i"
    "$setting" "$trib" run --quiet --run-dir "$scratch/$setting-$i" "$graph" \
      --set train.steps="$steps" --set train.evaluate_every=0 >/dev/null
  done
done

# all SETTING KEY: that key of every summary of a setting.
all() { for ((j = 0; j < repeats; ++j)); do json "$scratch/$1-$j/summary.json" "$2"; done; }

printf 'A step of era5_forecast, batch of 16: %.2f GFLOP; medians of %d interleaved runs of %d steps\n' \
  "$gflop" "$repeats" "$steps"
printf '%-8s %-14s %10s %10s %12s %8s\n' BLAS kernels "step (ms)" GFLOP/s "sgemm peak" ratio
for setting in "${settings[@]}"; do
  kernels=$(json "$scratch/$setting-0/environment.json" blas)
  peak=$(median $(awk '/^sgemm peak/ {print $(NF - 2)}' "$scratch/peak-$setting"-*))
  speed=$(median $(all "$setting" training.gflops))
  printf '%-8s %-14s %10.1f %10.1f %12.1f %8.2f\n' "$setting" "${kernels##* }" \
    "$(compute "1e3 * $(median $(all "$setting" training.median_step_seconds))")" "$speed" "$peak" \
    "$(compute "$speed / $peak")"
done

echo
echo "Where a step spends its time (median of a span of trace.json, ms)"
python3 - "$scratch"/own-*/trace.json <<'PYTHON'
import collections, json, statistics, sys

spans = collections.defaultdict(list)
for path in sys.argv[1:]:
    for event in json.load(open(path)):
        if event["ph"] == "X" and event["cat"] in ("forward", "backward", "optimizer"):
            spans[event["cat"], event["name"]].append(event["dur"] / 1e3)
for (kind, node), milliseconds in spans.items():
    print(f"{kind:10} {node:10} {statistics.median(milliseconds):8.2f}")
PYTHON
