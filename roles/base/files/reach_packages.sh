#!/bin/bash
# reach_packages.sh SECONDS: whether a bare machine can have its packages. Where apt's lists are older than SECONDS, it fetches the
# index of each place that apt's sources name and throws it away. apt's own fetcher does it, with the proxy and credentials of the machine.
set -euo pipefail
lists=/var/lib/apt/lists
if (($(date +%s) - $(stat --format=%Y $lists) < $1)); then exit 0; fi

folder=$(mktemp --directory)
trap 'rm -r "$folder"' EXIT
fetch=(/usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)

apt-get update --print-uris | sed -n "s/^'\([^']*InRelease\)'.*/\1/p" >"$folder/places"
if [ ! -s "$folder/places" ]; then
  echo "E: its sources name no place" >&2
  exit 1
fi
while read -r place; do
  case $place in cdrom:*) continue ;; esac
  rm -f "$folder/index"
  "${fetch[@]}" download-file "$place" "$folder/index" </dev/null 2>"$folder/said" && continue
  # one that answers is reached; apt itself then asks for its other index
  if ! grep --quiet ' 404 ' "$folder/said"; then
    cat "$folder/said" >&2
    exit 1
  fi
done <"$folder/places"
