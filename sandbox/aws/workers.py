"""The processes that functions run in: what they take, and how to end one in the middle."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime


def _running() -> Iterator[Any]:
    for pool in list(lambda_runtime._workers.values()):
        for worker in list(pool):
            if worker._proc is not None and worker._proc.poll() is None:
                yield worker


def workers() -> Iterator[dict[str, Any]]:
    """Each process with its function, and its memory in bytes: now, and at its peak."""
    for worker in _running():
        memory = _memory_of(worker._proc.pid)
        yield {
            "function": worker.func_name,
            "pid": worker._proc.pid,
            "busy": worker.in_use,
            "memory": memory.get("VmRSS"),
            "peak_memory": memory.get("VmHWM"),
        }


def _memory_of(pid: int) -> dict[str, int]:
    """What the kernel says of a process; empty where there is no /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return {}
    lines = (line.partition(":") for line in status.read_text().splitlines())
    return {n: int(rest.split()[0]) * 1024 for n, _, rest in lines if n in ("VmHWM", "VmRSS")}


def kill_busy_workers(role: str) -> None:
    """Kill the process of every invocation that runs under this role."""
    for worker in _running():
        if worker.in_use and worker.config.get("Role", "").endswith(f"/{role}"):
            worker._proc.kill()


def end_all_workers() -> None:
    """End every process, and remove what was unpacked for it."""
    lambda_runtime.reset()
