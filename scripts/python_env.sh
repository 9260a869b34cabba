#!/usr/bin/env bash
# Make .venv exactly what requirements.lock says, with this project in it (editable).
# Finds a Python 3.11 to 3.13 (PYTHON=… chooses one) and uv; installs what is missing. Quick where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.synced
wanted=$(sha256sum requirements.lock pyproject.toml scripts/python_env.sh)
if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

usable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
        if usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    scripts/apt_install.sh python3 python3-venv
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "Python: 3.11, 3.12 or 3.13 is needed, $(python3 --version 2>&1) was found;" \
            "install one and name it: PYTHON=/path/to/python3.11 make setup" >&2
        exit 1
    fi
fi

uv=$(command -v uv || true)
if [ -z "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
    uv=.tools/bin/uv
    if [ ! -x "$uv" ]; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || scripts/apt_install.sh python3-venv
        rm -rf .tools
        "$python" -m venv .tools
        .tools/bin/python -m pip install --quiet --disable-pip-version-check uv
    fi
    # uv does not read pip's settings: where pip is pointed at a mirror, point uv there as well.
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        mirror=$(.tools/bin/python -m pip config get global.index-url 2>/dev/null || true)
        [ -z "$mirror" ] || export UV_DEFAULT_INDEX=$mirror
    fi
fi

echo "Python environment: $("$python" --version) with $("$uv" --version)"
rm -f "$stamp"
[ -x "$venv/bin/python" ] && usable "$venv/bin/python" || "$uv" venv --quiet --clear --python "$python" "$venv"
export VIRTUAL_ENV=$PWD/$venv UV_LINK_MODE=${UV_LINK_MODE:-copy}
# Compiled now, once: where PYTHONDONTWRITEBYTECODE is set, as in many images, each process would compile it all anew
# (measured: `cdc status` 3.0 s instead of 1.2 s).
export UV_COMPILE_BYTECODE=1
"$uv" pip sync --quiet --require-hashes requirements.lock
"$uv" pip install --quiet --no-deps --editable .
echo "$wanted" >"$stamp"
