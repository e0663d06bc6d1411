"""The repository's own files, for the tests that watch over them."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hie", "adapters", "fhir_server", "mpi", "consent")


#: Folders that never hold tracked files.
UNTRACKED = {".git", ".venv", ".venv-census", "var", "build", "__pycache__"}


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file under version control, and every new one that is not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:  # an unpacked archive, or a clone that belongs to somebody else
        return tuple(sorted(_walk(ROOT)))
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.name not in UNTRACKED and not path.name.endswith(("_cache", ".egg-info")):
            yield from _walk(path)


def product_files() -> tuple[Path, ...]:
    """Every Python file of the hub itself."""
    return tuple(
        path
        for path in tracked_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES
    )


def name_of(path: Path) -> str:
    """The path as people write it, `mpi/score.py`."""
    return path.relative_to(ROOT).as_posix()
