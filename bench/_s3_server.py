"""A server that speaks S3 on this machine, and the log of what it was asked."""

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUCKET = "bucket"
_REQUEST = re.compile(r"\"(?:\x1b\[[0-9;]*m)*([A-Z]+) (\S+) HTTP")


@dataclass
class S3Server:
    """A running server.

    Attributes:
        address: its URL.
        log: file of its requests.
    """

    address: str
    log: Path

    def environment(self) -> dict[str, str]:
        """Returns the variables that lead s3fs, here and in Ray's workers, to this server."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }

    def requests(self, since: int = 0) -> list[tuple[str, str]]:
        """Returns (method, path) of every request from the `since`th on; a listing is a LIST."""
        found = _REQUEST.findall(self.log.read_text(errors="replace"))[since:]
        return [("LIST" if "list-type=" in path else method, path) for method, path in found]


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """Yields a server with an empty bucket; its log lies in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = S3Server(f"http://127.0.0.1:{port}", folder / "s3-requests.log")
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        _make_bucket(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _make_bucket(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    request = urllib.request.Request(f"{server.address}/{BUCKET}", method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(request, timeout=10).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
