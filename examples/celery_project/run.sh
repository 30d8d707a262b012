#!/bin/sh
# Runs the same project, unmodified, with the engine that is named: celery or umbel.
#   PROJ_REDIS=redis://localhost:6379/0 ./run.sh umbel
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python}
case "$1" in
    celery) engine="" ;;
    umbel) engine="umbel.celery -m" ;;
    *) echo "usage: run.sh celery|umbel" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086
"$python" -m $engine celery -A proj worker -l warning -c 2 -P prefork >"${PROJ_LOG:-worker.log}" 2>&1 &
worker=$!
trap 'kill $worker 2>/dev/null; wait $worker 2>/dev/null || true' EXIT
if [ "$1" = umbel ]; then "$python" -m umbel.celery check.py; else "$python" check.py; fi
