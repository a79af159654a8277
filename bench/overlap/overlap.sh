#!/bin/bash
# Does reading hide behind computing? A step alone, the reading alone, and both together, where
# every read blocks for so long that the ingest threads need as long for a batch as a step computes.
# Perfect overlap takes as long as the slower of the two; the target is at most 1.15 times that.
#
#   bench/overlap/overlap.sh
#
# REPEATS (5)   interleaved repetitions, of which medians are printed
. "$(dirname "$0")/../support/common.sh"

repeats=${REPEATS:-5}
readonly batch=16 ingest_threads=2

write_graph() {  # FILE STEPS END
  cat >"$1" <<YAML
name: overlap
seed: 7
runs: $scratch
ingest: {threads: $ingest_threads}
nodes:
  images:   {type: read.synthetic, channels: 8, size: [32, 32], items: $(($2 * batch))}
  batches:  {type: batch, from: images, size: $batch}
$3
YAML
}

write_training() {  # FILE STEPS DIM DEPTH
  write_graph "$1" "$2" "  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: $3}
  channels: {type: model.aggregate, from: tokens, kind: cross_attention, heads: 4}
  encoder:  {type: model.encoder, from: channels, depth: $4, heads: 4}
  recon:    {type: model.mae_head, from: encoder, mask_ratio: 0.5, dim: 64, depth: 1}
  train:    {type: train, from: recon, steps: $2, lr: 1e-4}"
}

measure() {  # NAME STEPS DIM DEPTH
  local name=$1 steps=$2 step delay
  write_training "$scratch/train.yaml" "$steps" "$3" "$4"
  write_graph "$scratch/read.yaml" "$steps" "  end:      {type: sink, from: batches}"

  local computing=() reading=() both=() ratio=() waiting=()
  for ((i = 0; i < repeats; ++i)); do
    # The delay is chosen anew each time: the speed of a shared machine drifts.
    run_graph "$scratch/train.yaml" "$scratch/$name-step-$i"
    step=$(json "$scratch/$name-step-$i/summary.json" training.median_step_seconds)
    delay=$(compute "f'{$step * $ingest_threads / $batch:.6f}s'")
    run_graph "$scratch/read.yaml" "$scratch/$name-read-$i" --set images.delay="$delay"
    run_graph "$scratch/train.yaml" "$scratch/$name-both-$i" --set images.delay="$delay"
    computing+=("$(json "$scratch/$name-step-$i/summary.json" seconds)")
    reading+=("$(json "$scratch/$name-read-$i/summary.json" seconds)")
    both+=("$(json "$scratch/$name-both-$i/summary.json" seconds)")
    waiting+=("$(json "$scratch/$name-both-$i/summary.json" training.wait_seconds)")
    ratio+=("$(compute "${both[i]} / max(${computing[i]}, ${reading[i]})")")
  done
  printf '%-8s %6d %10.1f %10.2f %10.2f %10.2f %10.2f %8.3f   %s\n' "$name" "$steps" \
    "$(compute "1e3 * $step")" "$(median "${computing[@]}")" "$(median "${reading[@]}")" \
    "$(median "${both[@]}")" "$(median "${waiting[@]}")" "$(median "${ratio[@]}")" \
    "$(compute "' '.join(f'{r:.3f}' for r in sorted([$(IFS=,; echo "${ratio[*]}")]))")"
}

echo "Overlap of reading and computing: medians of $repeats interleaved repetitions, seconds"
printf '%-8s %6s %10s %10s %10s %10s %10s %8s   %s\n' steps count "step (ms)" computing reading \
  both waiting ratio "all ratios"
measure long 30 256 6
measure short 200 64 2
