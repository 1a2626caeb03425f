#!/bin/sh
# The floor: what a hand-written script needs to do the same, with no check, no lock and no way back.
#
# usage: floor.sh PROJECT BUNDLE HOST
#
# BUNDLE is a folder with the lock and the wheels that do not change; the host has uv with a warm cache,
# and in /srv/floor the site's environment (env), its steps (steps.py) and a user unit called "floor".
set -e

rm -f "$2"/bookshop-[0-9]*.whl
uv build --quiet --wheel --out-dir "$2" "$1"
tar -C "$2" -c . | ssh "$3" '
set -e
cd /srv/floor
rm -rf bundle && mkdir bundle && tar -C bundle -x
uv venv --quiet --clear --no-project venv
install="uv pip install --quiet --python venv --no-deps --requirement bundle/requirements.txt"
$install --offline bundle/*.whl 2>/dev/null || $install bundle/*.whl
set -a && . ./env && set +a
venv/bin/python steps.py
systemctl --user restart floor
'
