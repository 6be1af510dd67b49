"""Build wheel and sdist, look into them, install the wheel in clean environments, use and test it there.

.venv-release/bin/python scripts/check_release.py                 with each Python of 3.11, 3.12 and 3.13 that is found
.venv-release/bin/python scripts/check_release.py --python 3.12   with one
.venv-release/bin/python scripts/check_release.py --newest        with the newest of all that is needed

`make test-release` calls it. With a Python for which PyPI's PyTorch is the one with CUDA, several GB are installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
SIX_LINES = """
import gradsight as gs
explanation = gs.explain("photo.jpg", targets=gs.Top(2))
explanation.figure().save("why.png")
assert explanation.maps.shape == (1, 2, 7, 7) and explanation.labels == (("Egyptian cat", "espresso"),), explanation
assert "site-packages" in gs.__file__, gs.__file__
print(gs.__version__, explanation.labels[0], explanation.region())
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "pillow")), sep=", ")
"""
# What needs neither another framework nor another library: methods, axioms, targets, explanations, files.
CORE = ("tests/methods/test_methods.py", "tests/methods/test_axioms.py", "tests/targets/test_targets.py")
CORE += ("tests/results/test_explanation.py", "tests/test_files.py")
TOOLS = ("pytest", "pytest-timeout", "hypothesis")
NAMES = "import gradsight as gs; [getattr(gs, name) for name in gs.__all__ if name not in ('Ray',)]"


def call(*command: object, cwd: Path, **more: object) -> str:
    """What a command prints; its own words where it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONNOUSERSITE": "1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != more.get("status", 0):
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout + done.stderr


def built(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it, which must be the wheel of this folder."""
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "direct", ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    (direct,) = (folder / "direct").glob("*.whl")
    if members(wheel) != members(direct):
        sys.exit("the wheel of the sdist is not the wheel of this folder")
    return sdist, wheel


def members(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def looked_at(sdist: Path, wheel: Path) -> None:
    """Whether all is in them that has to be."""
    files = members(wheel)
    source = {path for path in call("git", "ls-files", "src", cwd=ROOT).split() if not path.endswith("/.gitignore")}
    wanted = {path.removeprefix("src/") for path in source}
    info = f"{wheel.name.rsplit('-', 3)[0]}.dist-info"
    wanted |= {f"{info}/licenses/LICENSE", f"{info}/licenses/src/gradsight/data/LICENSES.md"}
    wanted |= {"gradsight/py.typed", f"{info}/METADATA", f"{info}/entry_points.txt"}
    if wanted - set(files):
        sys.exit(f"not in the wheel: {sorted(wanted - set(files))}")
    foreign = {name for name in files if not name.startswith(("gradsight/", info))}
    if foreign:
        sys.exit(f"in the wheel, and should not be: {sorted(foreign)}")
    with tarfile.open(sdist) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    tracked = call("git", "ls-files", "src", "tests", "docs", "scripts", cwd=ROOT).split()
    if set(tracked) - there:
        sys.exit(f"not in the sdist: {sorted(set(tracked) - there)[:20]}")
    print(f"{wheel.name}: {len(files)} files, {wheel.stat().st_size / 1e6:.2f} MB; {sdist.name}: {len(there)} files")


def interpreters(asked: list[str]) -> dict[str, str]:
    """The Pythons that are here, by their version: on the path, or of pyenv."""
    found = {}
    of_pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in asked:
        places = [*map(str, sorted(of_pyenv.glob(f"{version}.*/bin/python"))), shutil.which(f"python{version}")]
        for place in filter(None, places):
            said = subprocess.run([place, "-c", _VERSION], capture_output=True, text=True, check=False).stdout.strip()
            if said == version:
                found[version] = place
    return found


_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def used(python: str, sdist: Path, wheel: Path, folder: Path, *constraints: object) -> None:
    """Installs the wheel in an environment of its own, without and with extras, and uses and tests it."""
    call(python, "-m", "venv", folder / "env", cwd=folder)
    inside = folder / "env" / "bin"
    install = (inside / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *constraints)
    call(*install, wheel, cwd=folder)
    call(inside / "python", "-c", NAMES, cwd=folder)
    told = call(inside / "gradsight", "demo", cwd=folder, status=2)
    if "Traceback" in told or "gradsight[" not in told:
        sys.exit(f"without extras: {told}")
    call(*install, f"{wheel}[cli,demo]", cwd=folder)
    shutil.copy(ROOT / "src/gradsight/data/cat_and_coffee.jpg", folder / "photo.jpg")
    call(inside / "gradsight", "demo", cwd=folder)
    if len(list((folder / "gradsight-out").iterdir())) < 2:
        sys.exit("gradsight demo wrote nothing")
    print(call(inside / "python", "-c", SIX_LINES, cwd=folder).strip())
    call(inside / "python", "-m", "gradsight", "methods", cwd=folder)
    call(*install, *TOOLS, cwd=folder)
    print(tested(inside / "python", sdist, folder))


def tested(python: Path, sdist: Path, folder: Path) -> str:
    """What pytest says at the end. Only tests are of the sdist: the code that they import is the wheel's."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked / "src")
    return call(python, "-m", "pytest", "-q", *CORE, cwd=unpacked).strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", choices=VERSIONS, help="can be repeated")
    parser.add_argument("--newest", action="store_true", help="whatever constraints.txt pins")
    arguments = parser.parse_args()
    asked = arguments.python or list(VERSIONS)
    constraints = () if arguments.newest else ("--constraint", ROOT / "constraints.txt")
    with tempfile.TemporaryDirectory() as here:
        folder = Path(here)
        sdist, wheel = built(folder)
        looked_at(sdist, wheel)
        found = interpreters(asked)
        for version, python in found.items():
            began = time.monotonic()
            (folder / version).mkdir()
            used(python, sdist, wheel, folder / version, *constraints)
            print(f"Python {version}: installed and used, {time.monotonic() - began:.0f} s")
            shutil.rmtree(folder / version)
    missing = sorted(set(asked) - set(found))
    if missing:
        print(f"not here, and not tried: Python {', '.join(missing)}")
    if not found:
        sys.exit("no interpreter was found")


if __name__ == "__main__":
    main()
