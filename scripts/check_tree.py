"""Check what must not be committed: addresses of other hosts, paths of one machine, secrets in pipelines.

A clone must work wherever it is: package clients find their registries by the machine's own settings, so no
file names one. Exits 1 with `file:line: reason` for every finding.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Hosts that text may name: ourselves, documentation, and names of formats that look like addresses.
ALLOWED_HOSTS = {
    "127.0.0.1",
    "chat.googleapis.com",  # where these services take messages: the same for everybody
    "discord.com",
    "events.pagerduty.com",
    "hooks.slack.com",
    "localhost",
    "json-schema.org",
    "keepachangelog.com",
    "maven.apache.org",  # the namespace of a pom.xml
    "semver.org",
    "www.apache.org",
    "www.w3.org",
}
ALLOWED_SUFFIXES = (
    ".example", ".example.com", ".invalid", ".test",
    ".logic.azure.com", ".api.powerplatform.com",  # Teams' workflows
    ".dagster",  # a Service of the Kubernetes example
)

URL = re.compile(r"\b(?:https?|ftp)://(?:[^/\s@'\"]*@)?([A-Za-z0-9.-]+)")
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:work|root|home|Users)/[A-Za-z0-9_.-]+")


def findings(name: str, text: str) -> Iterator[str]:
    """What is wrong in one file's text."""
    for number, line in enumerate(text.splitlines(), start=1):
        for host in URL.findall(line):
            known = host in ALLOWED_HOSTS or host.endswith(ALLOWED_SUFFIXES) or "." not in host
            if not known:
                yield f"{name}:{number}: names the host {host}; leave it out (harmless: add it to ALLOWED_HOSTS)"
        for path in MACHINE_PATH.findall(line):
            yield f"{name}:{number}: names a path of one machine, {path}"


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def main() -> int:
    problems = []
    for name in tracked_files():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        problems.extend(findings(name, text))
    print("\n".join(problems) or f"nothing in {len(tracked_files())} files that must not be committed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
