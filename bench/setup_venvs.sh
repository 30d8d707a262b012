#!/bin/sh
# setup_venvs.sh [NAME ...]: one venv per system under $BENCH_VENVS (default <tmp>/bench-venvs). Without names: all of them.
# "umbel" is this checkout with [redis,uvloop]; the others come from requirements/NAME.txt, exact versions.
# "umbeldjango" is a Django site that uses this checkout.
# Needs redis-server on PATH (Debian: apt-get install redis-server) and, for the Postgres systems, PostgreSQL server binaries.
set -e
here=$(cd "$(dirname "$0")" && pwd)
venvs=${BENCH_VENVS:-${TMPDIR:-/tmp}/bench-venvs}
mkdir -p "$venvs"
if [ $# -eq 0 ]; then
    set -- umbel $(cd "$here/requirements" && ls *.txt | sed 's/\.txt$//')
fi
for name in "$@"; do
    [ -x "$venvs/$name/bin/python" ] || "${PYTHON:-python3}" -m venv "$venvs/$name"
    if [ "$name" = umbel ]; then
        # not editable: what is measured is what users install
        "$venvs/$name/bin/pip" install --quiet --disable-pip-version-check "$here/..[redis,uvloop]"
        "$venvs/$name/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$here/.."
    elif [ -f "$here/requirements/$name.txt" ]; then
        "$venvs/$name/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements/$name.txt"
        if [ "$name" = umbeldjango ]; then  # a site that calls tasks of this checkout
            "$venvs/$name/bin/pip" install --quiet --disable-pip-version-check "$here/..[redis,django]"
            "$venvs/$name/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$here/.."
        fi
    else
        echo "no requirements/$name.txt" >&2
        exit 2
    fi
done
