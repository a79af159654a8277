#!/bin/bash
# Does memory stay within the ingest budget, however long the run? Ten times the samples through a
# sink slower than the reading: peak resident memory and the ledger's ingest peak beside the budget.
# Fails if the ledger ever held more than the budget, or if the longer run takes more resident
# memory than the shorter one by more than half of it.
#
#   bench/memory/budget.sh
. "$(dirname "$0")/../support/common.sh"

readonly budget_mb=24 sample_kb=64
cat >"$scratch/slow.yaml" <<YAML
name: slow
seed: 7
runs: $scratch
vars: {samples: 2000}
ingest: {threads: 2, items: 1024, bytes: ${budget_mb}MB}
nodes:
  images:  {type: read.synthetic, channels: 16, size: [32, 32], items: "\${samples}"}
  scaled:  {type: normalize, from: images}
  batches: {type: batch, from: scaled, size: 16, shuffle: 64}
  end:     {type: sink, from: batches, delay: 20ms}
YAML

echo "Memory behind a slow sink, samples of $sample_kb KiB, MB"
printf '%8s %10s %10s %12s %12s %10s\n' samples "all data" budget "ingest peak" "resident" seconds
resident=()
for samples in 2000 20000; do
  folder=$scratch/run-$samples
  run_graph "$scratch/slow.yaml" "$folder" --set vars.samples="$samples"
  [[ $(json "$folder/summary.json" samples) == "$samples" ]] ||
    { echo "error: not all of $samples samples arrived" >&2; exit 1; }
  resident+=("$(json "$folder/summary.json" peak_rss_bytes)")
  peak=$(json "$folder/summary.json" memory.ingest.peak_bytes)
  printf '%8d %10.1f %10.1f %12.1f %12.1f %10.1f\n' "$samples" \
    "$(compute "$samples * $sample_kb * 1024 / 1e6")" "$budget_mb" "$(compute "$peak / 1e6")" \
    "$(compute "${resident[-1]} / 1e6")" \
    "$(json "$folder/summary.json" seconds)"
  [[ $(compute "int($peak <= $budget_mb * 1000000)") == 1 ]] ||
    { echo "error: the ledger held $peak bytes, more than the budget" >&2; exit 1; }
done
[[ $(compute "int(${resident[1]} <= 1.5 * ${resident[0]})") == 1 ]] ||
  { echo "error: resident memory grew with the number of samples" >&2; exit 1; }
