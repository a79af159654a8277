#!/bin/bash
# How near does read.prepared come to the speed of memory? Samples of two shapes, prepared plain and
# in zstd, read into batches by the engine; beside it memcpy of as many bytes, and zstd alone, on as
# many threads, in turns. The target is 0.7 of memcpy.
#
#   bench/ingest/prepared.sh
#
# MEGABYTES (1000)   of each set of plain samples; those in zstd are a quarter
# REPEATS (7)        epochs of which medians are printed
# BENCH_PREPARED     the program (default: build/release/bench/bench_prepared)
. "$(dirname "$0")/../support/common.sh"

megabytes=${MEGABYTES:-1000}
bench_prepared=${BENCH_PREPARED:-$repository/build/release/bench/bench_prepared}
[[ -x $bench_prepared ]] || { echo "error: no program $bench_prepared: build it" >&2; exit 2; }

prepare() {  # NAME CHANNELS SIZE MEGABYTES COMPRESSION
  local items=$(($4 * 1000000 / ($2 * 4 * ${3/,/*})))
  cat >"$scratch/$1.yaml" <<YAML
nodes:
  images:  {type: read.synthetic, channels: $2, size: [${3}], items: $items}
  batches: {type: batch, from: images, size: 16}
  end:     {type: sink, from: batches}
YAML
  "$trib" prepare --quiet "$scratch/$1.yaml" "$scratch/$1" --split train --shard-size 256MB \
    --compress "$5"
}

prepare era5 48 32,64 "$megabytes" none
prepare era5_zstd 48 32,64 $((megabytes / 4)) zstd
prepare scenes 13 128,128 "$megabytes" none
prepare scenes_zstd 13 128,128 $((megabytes / 4)) zstd
own_blas "$bench_prepared" "$scratch"/{era5,scenes,era5_zstd,scenes_zstd}/train \
  --repeats "${REPEATS:-7}"
