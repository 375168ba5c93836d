"""Files of a run folder, on a local or shared file system or in object storage.

A local file is written under a temporary name, synced and renamed; an object store's put is
atomic by itself. Readers therefore never see half a file.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa


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
        self._root = self.uri
        if not self.is_local:
            import fsspec

            try:
                self._fs, self._root = fsspec.core.url_to_fs(self.uri)
            except (ImportError, ValueError) as error:
                raise StorageError(
                    f"cannot open {self.uri}: {error}; install the package that serves this "
                    "protocol (s3fs for s3://, gcsfs for gs://) or use a local path"
                ) from error

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        """File system handles do not travel: a copy opens its own."""
        return Storage, (self.uri,)

    def path(self, *parts: str) -> str:
        """Returns the full path of a file below the folder."""
        return "/".join((self._root, *parts))

    def sub(self, *parts: str) -> "Storage":
        """Returns a folder below this one."""
        return Storage("/".join((self.uri, *parts)))

    def write(self, relative: str, emit: Callable[[IO[bytes]], None]) -> None:
        """Writes one file atomically; `emit` receives the open binary file.

        Raises: StorageError if the file cannot be written; nothing is left under its name.
        """
        path = self.path(relative)
        try:
            if self.is_local:
                self._write_local(path, emit)
            else:
                with self._fs.open(path, "wb") as file:
                    emit(file)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error}; free space or choose another runs_dir"
            ) from error

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
        try:
            if self.is_local:
                with open(path, "rb") as file:
                    return file.read()
            return self._fs.cat_file(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error

    def read_json(self, relative: str) -> Any:
        """Returns parsed JSON. Raises: FileNotFoundError, StorageError if it is torn."""
        data = self.read_bytes(relative)
        try:
            return json.loads(data)
        except ValueError as error:
            raise StorageError(
                f"{self.path(relative)} is not JSON ({error}); delete it and run again"
            ) from error

    def buffer(self, relative: str) -> pa.Buffer:
        """Returns a file's bytes, memory-mapped where the file is local."""
        path = self.path(relative)
        if self.is_local:
            with pa.memory_map(path, "r") as mapped:
                return mapped.read_buffer()
        return pa.py_buffer(self.read_bytes(relative))

    def exists(self, relative: str = "") -> bool:
        """Tells whether a file or folder is there."""
        path = self.path(relative) if relative else self._root
        return os.path.exists(path) if self.is_local else bool(self._fs.exists(path))

    def names(self, folder: str = "", suffix: str = "") -> list[str]:
        """Returns the sorted names of the files in a folder; empty if it is not there."""
        path = self.path(folder) if folder else self._root
        if self.is_local:
            found = os.listdir(path) if os.path.isdir(path) else []
        else:
            try:
                # Another process may have written since this handle last listed the folder.
                self._fs.invalidate_cache(path)
                found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in self._fs.ls(path, False)]
            except FileNotFoundError:
                found = []
        return sorted(n for n in found if n.endswith(suffix) and not n.endswith(".tmp"))

    def delete(self, relative: str) -> None:
        """Removes a file or a folder with all below it; absent is fine."""
        path = self.path(relative)
        if not self.is_local:
            if self._fs.exists(path):
                self._fs.rm(path, recursive=True)
        elif os.path.isdir(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def check_writable(self) -> None:
        """Raises StorageError unless a file can be written here."""
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        self.write_bytes(probe, b"")
        self.delete(probe)
