#!/usr/bin/env bash
# Install the operating system's packages that the local stack needs and can't bring itself: a Java 17 runtime
# for Kafka and Connect, Maven to fetch their jars. The database servers need no installation: `cdc stack up`
# unpacks them into a folder of their own. Does nothing, quickly, where all is there.
set -euo pipefail

major_java() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

wanted=()
command -v java >/dev/null && [ "$(major_java)" -ge 17 ] 2>/dev/null || wanted+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || wanted+=(maven)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || wanted+=(debian-archive-keyring)

if [ "${#wanted[@]}" -eq 0 ]; then
    echo "OS packages: all there (Java $(major_java), Maven)"
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "OS packages: missing ${wanted[*]}, and this machine has no apt-get: install Java 17+ and Maven by hand;" \
        "the local stack itself needs a Debian or Ubuntu machine" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "OS packages: missing ${wanted[*]}; run as root: apt-get install ${wanted[*]}" >&2
        exit 1
    fi
    as_root=(sudo -n)
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
        --quiet=2 "$@"
}

echo "OS packages: installing ${wanted[*]}"
# A machine's package lists are often old or absent: try with them first, refresh only if that fails.
install() { apt install --yes --no-install-recommends "${wanted[@]}"; }
install >/dev/null 2>&1 || { apt update && install; }
