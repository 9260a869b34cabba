"""Server binaries out of Debian packages, without installing anything on the machine.

apt runs with lists, cache and package state of its own in a temporary folder, so the machine's sources and
packages are neither read as a state nor changed. Starting from an empty state it fetches the packages with
everything they need down to the C library; unpacked into one folder they run through that folder's own
loader, whatever release the machine itself has.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdc_pipelines.stack.downloads import install_once, run_tool
from cdc_pipelines.stack.errors import StackError

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class PackageRoot:
    """A folder of unpacked packages."""

    path: Path

    @property
    def version(self) -> str:
        return (self.path / "VERSION").read_text().strip()

    def command(self, program: str) -> tuple[str, ...]:
        """The start of a command line that runs `program` (a path inside the root) with the root's libraries."""
        # Not lib64/ld-linux…: in some releases that is an absolute link, hence to the machine's own loader.
        loaders = [file for folder in self._libraries for file in folder.glob("ld-linux-*.so.*")]
        if not loaders:
            raise StackError(f"{self.path} holds no program loader; delete the folder and run `cdc stack up` again")
        return (str(loaders[0]), "--library-path", self.library_path, str(self.path / program))

    @property
    def library_path(self) -> str:
        return ":".join(str(folder) for folder in self._libraries)

    @property
    def _libraries(self) -> list[Path]:
        return [*self.path.glob("lib/*-linux-gnu*"), *self.path.glob("usr/lib/*-linux-gnu*")]


def package_root(
    part: str,
    destination: Path,
    suite: str,
    packages: Sequence[str],
    finish: Callable[[Path], None] = lambda folder: None,
) -> PackageRoot:
    """Fetch `packages` of a Debian suite (the first one names the version), unpack and `finish` them."""

    def fill(folder: Path) -> None:
        apt = folder / "apt"
        options = _private_apt(part, apt, suite)
        run_tool(part, ["apt-get", *options, "update"])
        run_tool(part, ["apt-get", *options, "--yes", "--download-only", "--no-install-recommends",
                        "install", *packages])
        archives = sorted((apt / "cache/archives").glob("*.deb"))
        for archive in archives:
            run_tool(part, ["dpkg", "--extract", str(archive), str(folder)])
        (folder / "VERSION").write_text(_version(archives, packages[0]) + "\n")
        shutil.rmtree(apt)
        finish(folder)
        folder.chmod(0o755)  # dpkg gives it the archive's top folder's mode

    return PackageRoot(install_once(destination, fill))


def _private_apt(part: str, folder: Path, suite: str) -> list[str]:
    for name in ("state/lists/partial", "cache/archives/partial", "preferences.d"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    signed = f" signed-by={_KEYRING}" if _KEYRING.exists() else ""
    sources = folder / "sources.list"
    sources.write_text(f"deb [check-valid-until=no{signed}] {_mirror(part)} {suite} main\n")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": folder / "preferences.d",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Log": folder,
        "APT::Sandbox::User": "root",  # apt's own user could not enter our folder
        "APT::Keep-Downloaded-Packages": "true",
        "Debug::NoLocking": "true",  # the lock it would take is the machine's
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _mirror(part: str) -> str:
    """The Debian mirror this machine already uses, so that proxies and local mirrors are honoured."""
    chosen = os.environ.get("CDC_STACK_DEBIAN_MIRROR")
    if chosen:
        return chosen
    known = run_tool(part, ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for uri in known.split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise StackError(
        f"{part}: apt on this machine knows no Debian mirror; set CDC_STACK_DEBIAN_MIRROR to one's address"
    )


def _version(archives: Sequence[Path], package: str) -> str:
    """The upstream version in a package file's name: name_epoch%3aVERSION-revision_arch.deb."""
    for archive in archives:
        name, version, _ = archive.name.split("_", 2)
        if name == package:
            return re.sub(r"[-+].*$", "", version.rsplit("%3a", 1)[-1])
    raise StackError(f"{package}: apt fetched no package of this name; check the suite's packages")
