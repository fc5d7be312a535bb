"""A Jupyter of one's own: nothing of the user's settings, one notebook, a browser page on it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs.running import free_port

IDLE = """() => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session;
  return session?.kernel?.status === "idle";
}"""
RUN = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
APPS = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}
PLACES = {"lab": "doc/tree", "notebook": "notebooks"}


@contextmanager
def jupyter(folder: Path, app: str = "lab"):
    """Run a server over a folder, with settings of its own, and give its address."""
    port = free_port()
    root = folder / "root"
    root.mkdir(parents=True, exist_ok=True)
    quiet = folder / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    settings = {"checkForUpdates": False, "fetchNews": "false", "doNotDisturbMode": True}
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(settings))
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = {**os.environ, **{name: str(folder / place) for name, place in names.items()}}
    command = [
        *(sys.executable, "-m", f"jupyter{'lab' if app == 'lab' else '_notebook'}"),
        *("--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={root}"),
        f"--{APPS[app]}.expose_app_in_browser=True",
        *(["--LabApp.extension_manager=readonly"] if app == "lab" else []),
    ]
    if app == "notebook":
        command[2] = "notebook"
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status", server, folder / "server.log")
            yield f"http://127.0.0.1:{port}/{PLACES[app]}"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:  # on 3.13.0 a thread of its own may keep it up
                server.kill()


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of cells of code."""
    import nbformat  # noqa: PLC0415 - takes a second, which each run of any test would pay

    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)


def open_notebook(page, address: str, name: str):
    """Open a notebook and wait until its kernel is ready."""
    page.set_default_timeout(240_000)
    page.goto(f"{address}/{name}", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(IDLE)


def run_cell(page, place: int) -> None:
    """Run one cell, and wait until it has run."""
    page.evaluate(
        """async (place) => {
          const app = window.jupyterapp;
          app.shell.currentWidget.content.activeCellIndex = place;
          await app.commands.execute("notebook:run-cell");
        }""",
        place,
    )


def text_of(page, place: int) -> str:
    """Return what a cell has printed and returned."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(place)
    cell.locator(".jp-OutputArea-output").first.wait_for()
    return cell.locator(".jp-OutputArea").inner_text()


def change_theme(page, theme: str) -> None:
    """Change the theme and wait until the page has it."""
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme
    )
    light = "false" if "Dark" in theme else "true"
    page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
    page.locator("#jupyterlab-splash").wait_for(state="detached")


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    ends = time.monotonic() + 240
    while time.monotonic() < ends and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=20).close()  # noqa: S310 - of this machine
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Jupyter did not start:\n{log.read_text()[-2000:]}")
