"""`python -m sandbox`: run the sandbox until it is interrupted."""

import argparse
import asyncio
import os
import signal
import socket

from sandbox.aws import environment


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one if left out")
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="how many times faster than AWS the control plane lets calls through; 0 is no limit",
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="end when the process that started this ends"
    )
    return parser.parse_args()


def _announce(port: int) -> None:
    print(f"The sandbox is ready on http://127.0.0.1:{port}; type:", flush=False)
    print(
        f"export AWS_ENDPOINT_URL=http://127.0.0.1:{port}"
        f" AWS_ACCESS_KEY_ID={environment.ACCESS_KEY_ID}"
        f" AWS_SECRET_ACCESS_KEY={environment.SECRET_ACCESS_KEY}"
        f" AWS_DEFAULT_REGION={environment.REGION}",
        flush=True,
    )


async def _run(listener: socket.socket, speed: float | None, with_parent: bool) -> None:
    from sandbox.aws.server import serve  # noqa: PLC0415 - MiniStack reads the environment on import

    environment.forget_own_log_level()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(serve(listener, speed, stop))
    # MiniStack's own start takes a moment; requests wait in the socket's queue until then.
    _announce(listener.getsockname()[1])
    parent = os.getppid()
    while with_parent and not stop.is_set() and not serving.done():
        if os.getppid() != parent:
            stop.set()
        await asyncio.sleep(0.2)
    await serving


def main() -> None:
    """Bind the port first, so that MiniStack and its functions know it, then serve on it."""
    arguments = _arguments()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    listener.listen(1024)
    environment.prepare(listener.getsockname()[1])
    asyncio.run(_run(listener, arguments.speed or None, arguments.with_parent))


if __name__ == "__main__":
    main()
