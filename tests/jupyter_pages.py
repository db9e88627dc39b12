"""Pages that Jupyter serves on this computer alone, for the tests in a browser."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parent
OWN = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
OWN += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
LAB = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--port-retries=0"]
LAB += ["--expose-app-in-browser", "--LabApp.extension_manager=readonly"]
LAB += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]


@contextmanager
def _server(command: list[str], folder: Path) -> Iterator[subprocess.Popen]:
    """A server whose settings and runtime files lie in a folder, and which writes `server.log`."""
    environment = os.environ | {name: str(folder / name.lower()) for name in OWN}
    paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield server
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait(server: subprocess.Popen, folder: Path, ready) -> None:
    while not ready():
        assert server.poll() is None, (folder / "server.log").read_text()
        time.sleep(0.2)


@contextmanager
def jupyterlab(folder: Path, notebooks: Path) -> Iterator:
    """JupyterLab over a folder of notebooks: what gives the address of each of them."""
    token = secrets.token_hex()
    options = [f"--ServerApp.root_dir={notebooks}", f"--IdentityProvider.token={token}"]
    with _server(["jupyterlab", *LAB, *options], folder) as server:
        runtime = folder / "jupyter_runtime_dir"
        _wait(server, folder, lambda: list(runtime.glob("jpserver-*.json")))
        time.sleep(0.5)
        port = json.loads(next(runtime.glob("jpserver-*.json")).read_text())["port"]
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?reset&token={token}"


@contextmanager
def voila(folder: Path, notebook: Path) -> Iterator[str]:
    """A notebook as a page of its own: the page's address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}"]
    with _server(["voila", str(notebook), *options], folder) as server:
        _wait(server, folder, lambda: _answers(port))
        yield f"http://127.0.0.1:{port}/"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def run_all(page, address: str) -> None:
    """Open a notebook in JupyterLab, and run its cells."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("jupyterapp.shell.currentWidget.sessionContext.session?.kernel")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
