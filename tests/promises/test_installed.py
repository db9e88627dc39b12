"""What is installed, where: on every system, beside what Colab has, from any folder."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINNED = [
    Requirement(line.split(" #")[0])
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if re.match(r"\w", line)
]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.11"}
LINUX |= {"platform_version": "#1 SMP", "platform_release": "6.8.0-1024-azure", "extra": ""}
KERNEL = "Darwin Kernel Version {}.6.0: Mon Jul 14 11:30:29 PDT"
MAC = {"sys_platform": "darwin", "platform_machine": "arm64"}


@pytest.mark.parametrize(
    ("system", "has_pythia"),
    [
        ({}, True),
        ({"python_version": "3.13"}, True),
        ({"python_version": "3.14"}, False),
        ({"platform_machine": "aarch64"}, False),
        ({"sys_platform": "win32", "platform_machine": "AMD64"}, False),
        (MAC | {"platform_version": KERNEL.format(24)}, True),  # macOS 15
        (MAC | {"platform_version": KERNEL.format(25)}, True),
        (MAC | {"platform_version": KERNEL.format(23)}, False),
        (MAC | {"platform_version": KERNEL.format(20)}, False),
        (MAC | {"platform_machine": "x86_64", "platform_version": KERNEL.format(24)}, False),
    ],
)
def test_pythia_is_asked_for_only_where_it_has_a_wheel(system, has_pythia):
    ours = [Requirement(text) for text in PROJECT["optional-dependencies"]["simulation"]]
    for requirements in (PINNED, ours):
        (pythia,) = (one for one in requirements if one.name == "pythia8mc")
        assert pythia.marker.evaluate(LINUX | system) is has_pythia


# as Google publishes them (googlecolab/backend-info, August 2026, and the version before)
COLAB = {
    "filelock": ["3.32.3"],
    "h5py": ["3.16.0"],
    "ipywidgets": ["7.7.1"],
    "joblib": ["1.5.3"],
    "lazy-loader": ["0.5"],
    "matplotlib": ["3.10.0"],
    "numba": ["0.61.2", "0.60.0"],
    "numpy": ["2.1.3", "2.0.2"],
    "platformdirs": ["4.11.3"],
    "safetensors": ["0.8.0"],
    "scikit-learn": ["1.6.1"],
    "scipy": ["1.16.3"],
    "torch": ["2.11.0+cpu", "2.11.0+cu128"],
    "tqdm": ["4.67.3"],
}


def test_what_colab_has_installed_stays_as_it_is():
    extra = PROJECT["optional-dependencies"]["simulation"]
    wanted = {one.name: one for one in map(Requirement, [*PROJECT["dependencies"], *extra])}
    for name, versions in COLAB.items():
        assert all(wanted[name].specifier.contains(version) for version in versions), name
    any_version = {"pillow", "pooch", "requests"}  # Colab has one of each, which will do
    assert not any(wanted[name].specifier for name in any_version)
    assert set(wanted) - set(COLAB) - any_version == {
        *(
            "anywidget",
            "awkward",
            "fastjet",
            "lightning-fabric",
            "pythia8mc",
            "vector",
        )  # newly installed
    }
    for python in ("3.12.13", "3.13.15"):
        assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


def test_the_pins_are_versions_that_the_package_accepts():
    optional = dict(PROJECT["optional-dependencies"])
    assert all("==" in text for text in optional.pop("site"))  # pinned there
    extras = [text for extra in optional.values() for text in extra]
    wanted = {one.name: one for one in map(Requirement, [*PROJECT["dependencies"], *extras])}
    pins = {one.name: next(iter(one.specifier)).version for one in PINNED}
    for name, version in pins.items():
        assert name not in wanted or wanted[name].specifier.contains(version), name
    assert set(wanted) - {"vector"} <= set(pins)


def test_ipywidgets_that_show_nothing_in_vs_code_are_not_installed():
    for requirements in (PINNED, map(Requirement, PROJECT["dependencies"])):
        (widgets,) = (one for one in requirements if one.name == "ipywidgets")
        assert not widgets.specifier.contains("8.1.9")


def test_the_requirements_do_not_depend_on_the_folder_pip_is_run_in():
    """In a requirements file, pip takes a relative path from there."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert all(re.match(r"(#|\w|$)", line) for line in lines)
    assert "pip install -r requirements.txt -e . &&" in (ROOT / "README.md").read_text("utf-8")
    assert "pip install -r requirements.txt -e ." in (ROOT / ".ci" / "run").read_text("utf-8")
    environment = (ROOT / "environment.yml").read_text("utf-8")
    assert "      - -e .\n" in environment
    index = "--extra-index-url https://download.pytorch.org/whl/cpu"  # or pip takes CUDA, too
    assert environment.index(index) < environment.index("- -r requirements.txt")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The files of a wheel, as pip would put them among the installed packages."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "qghelpers", source / "qghelpers", ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    environment.pop("QGHELPERS_HOME")
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


SERIES = """
import shutil, sys, qghelpers as qg
from qghelpers.simulation.particles import packaged_crossing
assert sys.argv[2] in qg.__file__, qg.__file__
shutil.copy(sys.argv[1], "jets.hdf5")
jets = qg.load_jets("jets.hdf5")
assert len(packaged_crossing()[0])
for name in ("vae", "unet", "unet-masked"):
    qg.reconstruct(qg.load_pretrained(name), jets.images([0]))
recipe = qg.get_recipe("vae", "reference", 1, batch_size=8)
assert "qg-browser" in qg.browse(jets[:5]).html
train, validation = jets[:20].split((0.8, 0.2))
qg.fit(qg.build("vae", "reference"), train, validation, recipe, out=qg.home() / "runs" / "vae",
       engine=qg.Engine(precision="32-true", compile=False), progress=False)
print(qg.home())
"""


def test_the_exercises_are_in_the_wheel(installed):
    here, there = (
        sorted(path.name for path in (root / "qghelpers" / "widgets" / "exercises").glob("*"))
        for root in (ROOT, installed)
    )
    assert here == there


def test_a_wheel_in_an_empty_folder_does_all_that_it_can(installed, sample_file, tmp_path):
    done = run(installed, tmp_path, "-c", SERIES, str(sample_file), str(installed))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}\n"
    assert (tmp_path / "runs" / "vae" / "model.safetensors").is_file()
    done = run(installed, tmp_path, "-m", "qghelpers", "benchmark")
    assert done.returncode == 2
    assert "benchmarks come with the repository" in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == 1
