#!/bin/bash
# Fetches the index of each place that apt's sources name and throws it away: whether a bare machine can have its packages.
# apt's own fetcher does it, with the proxy and the credentials of this machine. Whatever has no http(s) is not looked at.
set -euo pipefail
folder=$(mktemp --directory)
trap 'rm -r "$folder"' EXIT
fetch=(/usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=2 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10)

apt-get update --print-uris | sed -n "s/^'\(https\?:[^']*InRelease\)'.*/\1/p" >"$folder/places"
while read -r place; do
  "${fetch[@]}" download-file "$place" "$folder/index" </dev/null
done <"$folder/places"
