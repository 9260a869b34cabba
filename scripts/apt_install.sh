#!/usr/bin/env bash
# apt_install.sh PACKAGE… : install Debian packages as root or through sudo, without a question.
# The one place that knows how: the other install scripts call it with what they found missing.
set -euo pipefail

[ "$#" -gt 0 ] || { echo "usage: apt_install.sh PACKAGE…" >&2; exit 2; }

if ! command -v apt-get >/dev/null; then
    echo "OS packages: missing $*, and this machine has no apt-get: install them by hand" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "OS packages: missing $*; run as root (or with passwordless sudo): apt-get install $*" >&2
        exit 1
    fi
    as_root=(sudo -n)
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
        --quiet=2 "$@"
}

echo "OS packages: installing $*"
# A machine's package lists are often old or absent: try with them first, refresh only if that fails.
install() { apt install --yes --no-install-recommends "$@"; }
install "$@" >/dev/null 2>&1 || { apt update && install "$@" >/dev/null; }
