"""Files of a run folder, on a local or shared file system or in object storage.

A local file is written under a temporary name, synced and renamed; an object store's put is
atomic by itself. Readers therefore never see half a file.

Object stores answer in tens of milliseconds, each request is paid for, and listings that a
handle remembers hide what other processes have written since: nothing is cached, a file costs
one request, and many files are asked for at once (`read_all`).
"""

import contextlib
import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

# s3fs asks for a file's size before it reads it unless it is told to read in one piece.
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"max_concurrency": 1}, "s3a": {"max_concurrency": 1}}


# Clients of object stores raise errors of their own, for missing credentials and lost connections.
_CLIENTS = ("botocore", "aiobotocore", "s3fs", "gcsfs", "google", "aiohttp")
_REMOTE_CURE = "check that the bucket exists, the credentials, and the endpoint"


class StorageError(OSError):
    """A run folder cannot be read or written; says which, why and how to mend it."""


class Storage:
    """A folder addressed by relative paths.

    Args:
        uri: a path, or a URI that fsspec knows (`s3://bucket/runs/x`, `gs://…`).
    """

    def __init__(self, uri: str | Path) -> None:
        """Opens nothing yet; raises StorageError if the URI's protocol is unknown."""
        self.uri = str(uri).removeprefix("file://").rstrip("/") or "/"
        self.is_local = "://" not in self.uri
        self._fs: Any = None
        if not self.is_local:
            import fsspec

            options = _OPTIONS.get(self.uri.split("://", 1)[0], {})
            try:
                self._fs, _ = fsspec.core.url_to_fs(self.uri, use_listings_cache=False, **options)
            except (ImportError, ValueError) as error:
                raise StorageError(
                    f"cannot open {self.uri}: {error}; install the package that serves this "
                    "protocol (s3fs for s3://, gcsfs for gs://) or use a local path"
                ) from error

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        """File system handles do not travel: a copy opens its own."""
        return Storage, (self.uri,)

    def path(self, *parts: str) -> str:
        """Returns the full path, or URI, of a file below the folder."""
        return "/".join((self.uri, *parts))

    def sub(self, *parts: str) -> "Storage":
        """Returns a folder below this one."""
        return Storage("/".join((self.uri, *parts)))

    def write(self, relative: str, emit: Callable[[IO[bytes]], None]) -> None:
        """Writes one file atomically; `emit` receives the open binary file.

        Raises: StorageError if the file cannot be written; nothing is left under its name.
        """
        path = self.path(relative)
        with self._told("write", path):
            if self.is_local:
                self._write_local(path, emit)
            else:
                # Whole before it is sent: a file object that is closed by an error is uploaded.
                content = io.BytesIO()
                emit(content)
                self._fs.pipe_file(path, content.getvalue())

    @contextlib.contextmanager
    def _told(self, verb: str, path: str) -> Iterator[None]:
        """Makes a StorageError of what goes wrong; FileNotFoundError is kept when reading."""
        try:
            yield
        except OSError as error:
            if verb != "write" and isinstance(error, FileNotFoundError):
                raise
            cure = "free space or choose another runs_dir" if self.is_local else _REMOTE_CURE
            raise StorageError(f"cannot {verb} {path}: {error}; {cure}") from error
        except Exception as error:
            if self.is_local or not type(error).__module__.startswith(_CLIENTS):
                raise
            raise StorageError(f"cannot {verb} {path}: {error}; {_REMOTE_CURE}") from error

    @staticmethod
    def _write_local(path: str, emit: Callable[[IO[bytes]], None]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with open(temporary, "wb") as file:
                emit(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Writes `data` atomically."""

        def emit(file: IO[bytes]) -> None:
            file.write(data)

        self.write(relative, emit)

    def write_json(self, relative: str, value: object) -> None:
        """Writes `value` as indented JSON with sorted keys, atomically."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        self.write_bytes(relative, (text + "\n").encode())

    def read_bytes(self, relative: str) -> bytes:
        """Returns a file's content. Raises: FileNotFoundError, StorageError."""
        path = self.path(relative)
        with self._told("read", path):
            return Path(path).read_bytes() if self.is_local else self._fs.cat_file(path)

    def read_all(self, relatives: Iterable[str]) -> dict[str, bytes]:
        """Returns the contents of the files that are there, by name; all are asked for at once.

        Raises: StorageError if one is there but cannot be read.
        """
        if self.is_local:
            found: dict[str, Any] = {}
            for relative in relatives:
                with contextlib.suppress(FileNotFoundError):
                    found[relative] = self.read_bytes(relative)
            return found
        paths = {self._fs._strip_protocol(self.path(name)): name for name in relatives}
        with self._told("read", self.uri):
            found = self._fs.cat(list(paths), on_error="return") if paths else {}
        for path, content in found.items():
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                with self._told("read", path):
                    raise content
        return {paths[p]: content for p, content in found.items() if isinstance(content, bytes)}

    def tail(self, relative: str, n_bytes: int) -> bytes:
        """Returns the end of a file, at most so many bytes. Raises: as `read_bytes`."""
        path = self.path(relative)
        with self._told("read", path):
            if not self.is_local:
                size = self._fs.size(path)
                return self._fs.cat_file(path, start=max(0, size - n_bytes), end=size)
            with open(path, "rb") as file:
                file.seek(max(0, os.path.getsize(path) - n_bytes))
                return file.read()

    def read_json(self, relative: str) -> Any:
        """Returns parsed JSON. Raises: FileNotFoundError, StorageError if it is torn."""
        return self.parse_json(relative, self.read_bytes(relative))

    def parse_json(self, relative: str, data: bytes) -> Any:
        """Returns the parsed content of a file. Raises: StorageError if it is torn."""
        try:
            return json.loads(data)
        except ValueError as error:
            raise StorageError(
                f"{self.path(relative)} is not JSON ({error}); delete it, and give the "
                "command that made it again"
            ) from error

    def buffer(self, relative: str) -> pa.Buffer:
        """Returns a file's bytes, memory-mapped where the file is local."""
        path = self.path(relative)
        if self.is_local:
            with pa.memory_map(path, "r") as mapped:
                return mapped.read_buffer()
        return pa.py_buffer(self.read_bytes(relative))

    def exists(self, relative: str) -> bool:
        """Tells whether a file is there."""
        path = self.path(relative)
        with self._told("read", path):
            if self.is_local:
                return os.path.exists(path)
            try:
                self._fs.cat_file(path, start=0, end=1)  # one request; a look-up would list as well
            except FileNotFoundError:
                return False
            return True

    def size(self, relative: str) -> int:
        """Returns a file's bytes; -1 if it is not there."""
        path = self.path(relative)
        try:
            with self._told("read", path):
                return os.path.getsize(path) if self.is_local else self._fs.size(path)
        except FileNotFoundError:
            return -1

    def names(self, folder: str = "", suffix: str = "") -> list[str]:
        """Returns the sorted names of the files in a folder; empty if it is not there."""
        path = self.path(folder) if folder else self.uri
        if self.is_local:
            found = os.listdir(path) if os.path.isdir(path) else []
        else:
            with self._told("list", path):
                try:
                    paths = self._fs.ls(path, False)
                except FileNotFoundError:
                    paths = []
            found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in paths]
        return sorted(n for n in found if n.endswith(suffix) and not n.endswith(".tmp"))

    def delete(self, relative: str) -> None:
        """Removes a file; absent is fine."""
        path = self.path(relative)
        with self._told("delete", path), contextlib.suppress(FileNotFoundError):
            os.unlink(path) if self.is_local else self._fs.rm_file(path)

    def delete_folder(self, relative: str) -> None:
        """Removes a folder with all below it; absent is fine."""
        path = self.path(relative)
        with self._told("delete", path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path) if self.is_local else self._fs.rm(path, recursive=True)

    def clear_leftovers(self, older_s: float = 600.0) -> None:
        """Removes temporary files of writers that were killed; those in use are younger."""
        if not self.is_local:
            return  # an object is there whole or not at all
        for folder, _, names in os.walk(self.uri):
            for name in names:
                if name.endswith(".tmp"):
                    path = os.path.join(folder, name)
                    with contextlib.suppress(OSError):  # another driver may be at it as well
                        if time.time() - os.stat(path).st_mtime > older_s:
                            os.unlink(path)

    def check_writable(self) -> None:
        """Raises StorageError unless a file can be written here."""
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        self.write_bytes(probe, b"")
        self.delete(probe)
