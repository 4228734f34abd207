"""Command lines in forked children of one process, so that one import serves many kills.

A job is `{"argv": [...]}`, or `{"function": "module:name"}` of a module in the folder `path` with
its `arguments`; with, optionally, `cwd`; `at` (`"module:name"`) and `call`: the child
gets `signal` as that function is called for the `call`-th time; `when`: a glob that the parent
waits for before it sends `signal`; `file_size`: bytes over which a file cannot be written;
`report`: false leaves the report out, which takes longest; `look`: a file to read when it ended;
`obey`: true has root, too, stopped by what a file's mode forbids; `ranks`: so many processes do the
job together, as `torchrun` would have started them.
Checkpoints are written after every step.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

TIMEOUT = 60


@dataclass(frozen=True)
class Done:
    """How a job ended: exit status (negative: the signal), what it printed, what `look` held."""

    status: int
    stdout: str
    stderr: str
    looked: str = ""


def run(*jobs: dict[str, Any]) -> list[Done]:
    """Run the jobs one after another."""
    stdin, stdout = _server()
    ended: list[Done] = []
    for job in jobs:
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        ended.append(Done(**json.loads(stdout.readline())))
    return ended


@functools.cache
def _server() -> tuple[IO[str], IO[str]]:
    """One process for all tests; it ends when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    return process.stdin, process.stdout


def _arm(where: str, call: int, number: int) -> None:
    module, _, name = where.partition(":")
    owner: Any = importlib.import_module(module)
    original, calls = getattr(owner, name), 0

    @functools.wraps(original)
    def armed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), number)
            time.sleep(0.01)  # a signal that Python handles arrives between two instructions
        return original(*args, **kwargs)

    setattr(owner, name, armed)


def _obey() -> None:
    """Give up the right to read and write whatever the modes of files say (CAP_DAC_*)."""
    libc = ctypes.CDLL(None, use_errno=True)
    head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(head, sets)
    for index in (0, 1):  # effective and permitted, of capabilities 0 to 31
        sets[index] &= ~(1 << 1 | 1 << 2)
    if libc.capset(head, sets):
        raise OSError(ctypes.get_errno(), "capset")


def _ranks(count: int) -> list[int]:
    """Become `count` processes with what torchrun sets in each; the first gets the others' ids."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rank, others = 0, list[int]()
    for number in range(1, count):
        pid = os.fork()
        if pid == 0:
            rank, others = number, []
            break
        others.append(pid)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank))
    return others


def _child(job: dict[str, Any]) -> None:
    others = _ranks(job["ranks"]) if "ranks" in job else []
    _work(job)
    for pid in others:
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"another rank ended with {status}"


def _work(job: dict[str, Any]) -> None:
    if job.get("obey"):
        _obey()
    if "function" in job:
        sys.path.append(job["path"])
        module, _, name = job["function"].partition(":")
        getattr(importlib.import_module(module), name)(**job["arguments"])
        return
    from keepers.cli import main
    from keepers.workflows.workplace import Workplace

    of = Workplace.of
    Workplace.of = lambda *given: replace(of(*given), checkpoint_every=0.0)  # type: ignore[method-assign,assignment]
    os.chdir(job.get("cwd", "."))
    if not job.get("report", True):
        running: Any = importlib.import_module("keepers.cli.running")
        running.report = lambda selection: selection.evidence.run / "report.html"
    if "at" in job:
        _arm(job["at"], job.get("call", 1), job["signal"])
    if "file_size" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    sys.argv = ["keepers", *job["argv"]]
    main()


def _fork(job: dict[str, Any], out: Path, err: Path) -> int:
    sys.stdout.flush()
    if "ranks" in job:
        import torch._dynamo  # noqa: F401  # parallel training does, seconds: once, not each
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.close(0)
            _child(job)
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return pid


def _wait(pid: int, job: dict[str, Any]) -> int:
    end = time.monotonic() + TIMEOUT
    waiting_for = job.get("when")
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if waiting_for and any(Path(job.get("cwd", ".")).glob(waiting_for)):
            os.kill(pid, job["signal"])
            waiting_for = None
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGALRM


def _warm(folder: Path) -> None:
    """Run a command that trains nothing: imports, commands and digits are there for all jobs.

    It takes half a second, as much as it saves each of them.
    """
    from keepers.cli import main

    sys.argv = ["keepers", "coreset", "digits", "--limit", "50", "--method", "random"]
    sys.argv += ["--run", str(folder / "run")]
    said, status = io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as stop:
            status = stop.code
    assert not status, said.getvalue()


def _main() -> None:
    import tempfile

    import matplotlib.figure  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch

    import keepers.cli.running
    import keepers.cli.training
    import keepers.workflows.active  # noqa: F401
    from disks import never_waited_for

    torch.set_num_threads(1)
    never_waited_for()
    # A shell that starts the tests in the background has them ignore Ctrl-C, and so all below.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        _warm(Path(folder))
        out, err = Path(folder) / "out", Path(folder) / "err"
        for line in sys.stdin:
            job = json.loads(line)
            status = _wait(_fork(job, out, err), job)
            done = {"status": status, "stdout": out.read_text(), "stderr": err.read_text()}
            if "look" in job:
                looked = (Path(job.get("cwd", ".")) / job["look"]).read_bytes()
                done["looked"] = looked.decode(errors="replace")
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _main()
