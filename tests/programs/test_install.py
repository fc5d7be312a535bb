"""What `make test` does about programs that are missing."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
INSTALL = Path(__file__).with_name("install.sh")


@pytest.fixture
def machine(tmp_path):
    """Make a machine on which programs are few, and apt-get writes down what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname"):
        (folder / name).symlink_to(Path("/usr/bin") / name)
    listed = tmp_path / "packages.txt"
    listed.write_text(f"# programs\n\nbash bash\n{folder}/ba* also-bash\nowl-server owl\n")
    log = tmp_path / "log"

    def run(*, root=True, apt=True, ci=False):
        scripts = {"id": f"echo {0 if root else 1000}"}
        if apt:
            scripts["apt-get"] = f'echo "$@" >>{log}'
        for name, script in scripts.items():
            (folder / name).write_text(f"#!{folder}/bash\n{script}\n")
            (folder / name).chmod(0o755)
        environment = {"PATH": str(folder)} | ({"CI": "true"} if ci else {})
        command = [str(folder / "bash"), str(INSTALL), str(listed)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, log.read_text() if log.exists() else ""

    run.listed = listed
    return run


def test_root_installs_what_is_missing_and_only_that(machine):
    code, said, told = machine()
    assert code == 0
    assert told == "install -y -qq owl\n"
    assert "owl" in said


def test_nothing_happens_where_nothing_is_missing(machine):
    machine.listed.write_text("bash bash\n")
    assert machine() == (0, "", "")


@pytest.mark.parametrize("how", [{"root": False}, {"apt": False}], ids=str)
def test_others_are_told_the_command_and_ci_fails(machine, how):
    code, said, told = machine(**how)
    assert (code, told) == (0, "")
    assert "sudo apt-get install -y owl" in said
    assert machine(**how, ci=True)[0] == 1
