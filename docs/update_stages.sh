#!/usr/bin/env bash
# Rewrite the generated part of every stage page from what the program says of its stages.
#
#   docs/update_stages.sh [PROGRAM]     PROGRAM: build/release/trib unless given
#
# A stage without a page gets one with its heading and the generated part; the rest of the page
# (notes, example, see also) is written by hand after the end marker and left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

trib=${1:-build/release/trib}
begin="<!-- begin generated -->"
end="<!-- end generated -->"

for stage in $("$trib" stages | cut -d ' ' -f 1); do
  page=docs/stages/$stage.md
  [ -f "$page" ] || printf '# %s\n\n%s\n%s\n' "$stage" "$begin" "$end" >"$page"
  if ! grep -qxF -- "$begin" "$page" || ! grep -qxF -- "$end" "$page"; then
    echo "$page: lacks the line '$begin' or '$end'" >&2
    exit 1
  fi
  updated=$(mktemp)
  {
    sed "/^$begin\$/q" "$page"
    "$trib" options "$stage" --markdown
    sed -n "/^$end\$/,\$p" "$page"
  } >"$updated"
  cat "$updated" >"$page"
  rm "$updated"
done
