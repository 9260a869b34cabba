#!/usr/bin/env bash
# Install the operating system's packages that the local stack needs and can't bring itself: a Java 17 runtime
# for Kafka and Connect, Maven to fetch their jars. The database servers need no installation: `cdc stack up`
# unpacks them into a folder of their own. With `--tests` also what only tests need: the browser, systemd's check of units.
# Does nothing, quickly, where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

major_java() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

wanted=()
command -v java >/dev/null && [ "$(major_java)" -ge 17 ] 2>/dev/null || wanted+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || wanted+=(maven)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || wanted+=(debian-archive-keyring)
if [ "${1:-}" = --tests ]; then
    command -v chromium >/dev/null || wanted+=(chromium)
    command -v systemd-analyze >/dev/null || wanted+=(systemd)
fi

if [ "${#wanted[@]}" -eq 0 ]; then
    echo "OS packages: all there (Java $(major_java), Maven)"
else
    scripts/apt_install.sh "${wanted[@]}"
fi
