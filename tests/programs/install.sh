#!/usr/bin/env bash
# Install the programs that tests start, where they are missing and apt-get may be used; elsewhere
# name the command. In CI a missing program is a failure: no test is skipped there.
set -euo pipefail

list=${1:-$(dirname "${BASH_SOURCE[0]}")/packages.txt}
missing=()
while read -r program package; do
  case $program in '' | '#'*) continue ;; esac
  command -v "$program" >/dev/null || compgen -G "$program" >/dev/null || missing+=("$package")
done <"$list"
[ ${#missing[@]} -gt 0 ] || exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "Installing what tests start: ${missing[*]}" >&2
  # RUNLEVEL: the packages' own services are not to start
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get install -y -qq "${missing[@]}" >&2 || { apt-get update -qq >&2 && apt-get install -y -qq "${missing[@]}" >&2; }
  exit
fi
echo "Tests start programs that are not installed here: ${missing[*]}." \
  "On Debian and Ubuntu: sudo apt-get install -y ${missing[*]}" >&2
[ -z "${CI:-}" ] || exit 1
