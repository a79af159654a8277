#!/usr/bin/env bash
# Install what is missing, build, run all tests.
#
#   tests/run.sh [PRESET] [ctest arguments]     PRESET: release (default), portable, debug, asan, tsan
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release
case "${1:-}" in release | portable | debug | asan | tsan) preset=$1 && shift ;; esac

cmake/install_packages.sh
# A folder that was configured without tests, as the quickstart does, keeps that otherwise.
cmake --preset "$preset" -DTRIB_BUILD_TESTS=ON >/dev/null
cmake --build --preset "$preset"

# Ranks of a test share the machine; as root Open MPI wants to be told twice.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ctest --preset "$preset" -j "$(nproc)" --no-tests=error "$@"
