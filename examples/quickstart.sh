#!/usr/bin/env bash
# From a bare Debian 12 to a trained model in a few minutes.
#
#   examples/quickstart.sh [--data DIR]
#
# Installs what is missing, builds, makes sample data unless --data names a folder with files of
# your own (a subfolder hyperspectral/ with HDF5 cubes), and trains a masked autoencoder on them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

data=""
while [ $# -gt 0 ]; do
  case "$1" in
    --data) data=${2:?--data needs a folder} && shift 2 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
done

cmake/install_packages.sh
echo "building (a few minutes the first time)"
cmake --preset release -DTRIB_BUILD_TESTS=OFF -DTRIB_BUILD_BENCH=OFF >/dev/null
cmake --build --preset release
trib=build/release/trib

if [ -z "$data" ]; then
  data=sample-data
  [ -d "$data/hyperspectral" ] || "$trib" sample-data "$data"
fi
TRIB_DATA="$data" "$trib" run graphs/hyperspectral_mae.yaml

echo
echo "Next: look at the run folder named above (metrics.csv, trace.json for ui.perfetto.dev),"
echo "then at graphs/hyperspectral_mae.yaml, and change it: $trib options model.encoder"
