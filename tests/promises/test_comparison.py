"""What `pytest --nbval` notices of a stored browser: all but the jets, which differ everywhere.

Each cell of a small notebook has an output stored that is not what it shows now.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import v4

CONFIGURATION = Path(__file__).parents[1] / "nbval.cfg"
SETUP = """
import numpy as np
import qghelpers as qg


def some(seed):
    images = np.random.default_rng(seed).random((6, 3, 125, 125)) ** 9
    return np.where(images > 0.9, images, 0)
"""
STORED = "qg.browse(some(1), columns={'step': some(1)[:, 0, 0, 0]})"
CELLS = {
    "other jets": (STORED.replace("some(1)", "some(2)"), STORED),
    "nothing is shown": ("None", STORED),
    "a message": (STORED.replace("some(1)", "some(1)[:0]"), STORED),
    "fewer jets": (STORED.replace("some(1)", "some(1)[:5]"), STORED),
    "another name": (STORED.replace("})", "}, name='event')"), STORED),
    "another quantity": (STORED.replace("step", "length"), STORED),
    "another row": (STORED.replace("some(1),", "{'a': some(1)},"), STORED),
    "another part of the image": (STORED.replace("})", "}, half_width=1)"), STORED),
}


def output_of(code: str) -> nbformat.NotebookNode:
    scope = {}
    exec(SETUP, scope)
    data, metadata = eval(code, scope)._repr_mimebundle_()
    return v4.new_output("execute_result", data, metadata=metadata, execution_count=1)


def test_all_but_the_jets_of_a_browser_has_to_be_as_stored(tmp_path):
    printed = v4.new_output("stream", name="stdout", text='1.4 "top":3.1\n')
    stored = [(SETUP, []), *((now, [output_of(then)]) for now, then in CELLS.values())]
    stored.append(("print('1.5 \"top\":3.1')", [printed]))
    cells = [v4.new_code_cell(code, outputs=out, execution_count=1) for code, out in stored]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    path = tmp_path / "stored.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), path)
    options = ["--nbval", f"--nbval-sanitize-with={CONFIGURATION}", "-rA", "--color=no"]
    options += ["-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", "/dev/null"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    found = re.findall(r"^(PASSED|FAILED) .*::Cell (\d+)", run.stdout, re.M)
    passed = {int(number): result == "PASSED" for result, number in found}
    names = ["setup", *CELLS, "a printed figure"]
    assert len(passed) == len(names), run.stdout + run.stderr
    assert {names[i] for i in passed if passed[i]} == {"setup", "other jets"}
