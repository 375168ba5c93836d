"""Arrow shards: atomic, checksummed, resumable, and opened by `datasets.load_from_disk`.

A shard is an Arrow IPC stream and a manifest beside it, written last: the manifest is the
done-marker. It holds the row count and a checksum, since a stream that is cut at a batch
boundary reads as a shorter one without an error.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import pyarrow as pa

from pipeline.schema import GENERATION, SCHEMA_VERSION, VOCABULARY
from pipeline.storage import Storage

_AHEAD = 16  # shards fetched from object storage while the first one is worked on


class ShardError(ValueError):
    """A shard is missing, torn, foreign or of another version; names it and the cure."""


class TornShardError(ShardError):
    """A shard's bytes are not those that were written."""


@dataclass(frozen=True)
class Manifest:
    """What a shard holds.

    Attributes:
        name: the shard's file name.
        rows: number of rows.
        n_bytes: file size.
        checksum: blake2b-128 of the file, hex.
        fingerprint: of the configuration that made it.
        schema_version: of `pipeline.schema`.
        inputs: what it was made from (problem ids or input checksums), for the done-marker.
        counts: additive counters of the stage (tokens, programs, statuses, …).
    """

    name: str
    rows: int
    n_bytes: int
    checksum: str
    fingerprint: str
    schema_version: int = SCHEMA_VERSION
    inputs: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)


def write_shard(
    storage: Storage,
    name: str,
    table: pa.Table,
    fingerprint: str,
    inputs: dict[str, Any] | None = None,
    counts: dict[str, float] | None = None,
    manifests: str = "manifests",
    compression: str | None = None,
) -> Manifest:
    """Writes a table as shard `name` and returns its manifest, which is written last.

    Args:
        compression: "zstd", "lz4" or None. Readers need not know; a compressed shard cannot be
            read in place, memory-mapped, as `datasets` does.

    Raises: StorageError if the storage cannot be written.
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=4096)
    buffer = sink.getvalue()

    def emit(file: IO[bytes]) -> None:
        file.write(memoryview(buffer))

    storage.write(name, emit)
    manifest = Manifest(
        name=name,
        rows=table.num_rows,
        n_bytes=buffer.size,
        checksum=hashlib.blake2b(memoryview(buffer), digest_size=16).hexdigest(),
        fingerprint=fingerprint,
        inputs=inputs or {},
        counts=counts or {},
    )
    storage.write_json(f"{manifests}/{_stem(name)}.json", asdict(manifest))
    return manifest


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(".arrow")


def read_manifest(storage: Storage, name: str, manifests: str = "manifests") -> Manifest | None:
    """Returns the manifest of shard `name`; None if the shard is not finished."""
    return next(iter(read_manifests(storage, manifests, [_stem(name)])), None)


def read_manifests(
    storage: Storage, manifests: str = "manifests", stems: Iterable[str] | None = None
) -> list[Manifest]:
    """Returns the manifests of finished shards, by name: one listing and one round of reads.

    Args:
        storage: the folder of the shards.
        manifests: folder of the manifests below it.
        stems: of the shards' names; None: all that are finished.
    """
    if stems is None:
        stems = [name[:-5] for name in storage.names(manifests, ".json")]
    texts = storage.read_all(f"{manifests}/{stem}.json" for stem in stems)
    return [_manifest(storage, path, text) for path, text in texts.items()]


def _manifest(storage: Storage, path: str, text: bytes) -> Manifest:
    try:
        return Manifest(**storage.parse_json(path, text))
    except TypeError as error:
        raise ShardError(
            f"manifest {storage.path(path)} is foreign ({error}); delete it and run again"
        ) from error


def check_manifest(
    storage: Storage, manifest: Manifest, fingerprint: str, inputs: dict[str, Any] | None = None
) -> None:
    """Raises ShardError unless the shard is of this version, configuration and input."""
    where = f"shard {storage.path(manifest.name)}"
    if manifest.schema_version != SCHEMA_VERSION:
        raise ShardError(
            f"{where}: schema version {manifest.schema_version}, this code reads "
            f"{SCHEMA_VERSION}; regenerate it or install the ppot that wrote it"
        )
    if manifest.fingerprint != fingerprint:
        raise ShardError(
            f"{where}: made with configuration {manifest.fingerprint}, this run is "
            f"{fingerprint}; use another run folder or delete the shard"
        )
    if inputs is not None and manifest.inputs != inputs:
        raise ShardError(f"{where}: made from other inputs; delete it and run again")


def read_shard(storage: Storage, manifest: Manifest, schema: pa.Schema) -> pa.Table:
    """Returns a shard's rows, memory-mapped where local, after checking them.

    Raises: ShardError if the file is missing, torn, or of another schema.
    """
    where = f"shard {storage.path(manifest.name)}"
    cure = "delete it and its manifest, then run the same command again"
    try:
        buffer = storage.buffer(manifest.name)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise TornShardError(f"{where} is missing or empty ({error}); {cure}") from error
    checksum = hashlib.blake2b(memoryview(buffer), digest_size=16).hexdigest()
    if buffer.size != manifest.n_bytes or checksum != manifest.checksum:
        raise TornShardError(
            f"{where} is torn: {buffer.size} bytes with checksum {checksum}, its manifest says "
            f"{manifest.n_bytes} and {manifest.checksum}; {cure}"
        )
    return _read_stream(buffer, where, schema, manifest.rows, cure)


def read_or_discard(
    storage: Storage, manifest: Manifest, schema: pa.Schema, manifests: tuple[str, ...]
) -> pa.Table:
    """Returns a shard's rows; a torn one is marked undone, to be made again.

    Args:
        manifests: folders whose manifest of this shard's block is deleted if it is torn.

    Raises: TornShardError, after the markers are gone; ShardError for another schema.
    """
    try:
        return read_shard(storage, manifest, schema)
    except TornShardError as error:
        _discard(storage, manifest, manifests)
        raise TornShardError(f"{str(error).split('; ', 1)[0]}; {_UNDONE}") from error


def discard_lost(
    storage: Storage, shards: Iterable[Manifest], manifests: tuple[str, ...]
) -> list[str]:
    """Marks undone the shards that are not there any more, or not as long as they were.

    One whose bytes differ is found when it is read. An object in a bucket is whole, and is not
    asked for.

    Args:
        manifests: as `read_or_discard`.

    Returns: a sentence for each.
    """
    said = []
    for shard in shards if storage.is_local else ():
        size = storage.size(shard.name)
        if size != shard.n_bytes:
            _discard(storage, shard, manifests)
            lost = "is missing" if size < 0 else f"is torn: {size} of {shard.n_bytes} bytes"
            said.append(f"shard {storage.path(shard.name)} {lost}; {_UNDONE}")
    return said


_UNDONE = "it is marked undone: the command that made it makes it again"


def _discard(storage: Storage, shard: Manifest, manifests: tuple[str, ...]) -> None:
    for folder in manifests:
        storage.delete(f"{folder}/{_stem(shard.name)}.json")


def read_shards(
    storage: Storage, shards: Iterable[Manifest], schema: pa.Schema, manifests: tuple[str, ...]
) -> Iterator[pa.Table]:
    """Yields shards' rows in order, a few fetched ahead where each one costs a round trip.

    Args and errors: as `read_or_discard`.
    """
    if storage.is_local:
        for shard in shards:
            yield read_or_discard(storage, shard, schema, manifests)
        return
    ahead: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(_AHEAD) as pool:
        for shard in shards:
            ahead.append(pool.submit(read_or_discard, storage, shard, schema, manifests))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _read_stream(
    buffer: pa.Buffer, where: str, schema: pa.Schema, rows: int | None, cure: str
) -> pa.Table:
    try:
        # Threads that share out a small shard's columns cost more than the columns.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        table = pa.ipc.open_stream(buffer, options=options).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardError(f"{where} is not an Arrow stream ({error}); {cure}") from error
    if not table.schema.equals(schema):
        differing = sorted(set(table.schema.names) ^ set(schema.names)) or "column types"
        raise ShardError(f"{where} has another schema (differs in {differing}); {cure}")
    if rows is not None and table.num_rows != rows:
        raise ShardError(f"{where} holds {table.num_rows} rows, its manifest says {rows}; {cure}")
    return table


def write_vocabulary(storage: Storage, tokens: pa.Table) -> None:
    """Writes the folder's token ids and bytes (`schema.VOCABULARY`)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, VOCABULARY) as writer:
        writer.write_table(tokens.cast(VOCABULARY))
    storage.write_bytes("vocabulary.arrow", sink.getvalue().to_pybytes())


def read_vocabulary(storage: Storage) -> pa.Table:
    """Returns the folder's vocabulary. Raises: ShardError if it is missing or torn."""
    cure = "copy it from where the generations were made"
    return read_file(storage, "vocabulary.arrow", VOCABULARY, cure)


def read_file(storage: Storage, name: str, schema: pa.Schema, cure: str) -> pa.Table:
    """Returns the rows of an Arrow file that has no manifest.

    Raises: ShardError, with the cure, if it is missing, torn or of another schema.
    """
    where = storage.path(name)
    try:
        buffer = storage.buffer(name)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise ShardError(f"{where} is missing or empty; {cure}") from error
    return _read_stream(buffer, where, schema, None, cure)


def write_dataset_index(storage: Storage, manifests: list[Manifest]) -> None:
    """Makes the folder one that `datasets.load_from_disk` opens: lists its shards."""
    from datasets import DatasetInfo, Features

    names = [{"filename": manifest.name} for manifest in manifests]
    info = DatasetInfo(
        features=Features.from_arrow_schema(GENERATION),
        description="Generations with logprobs of a ppot run; one row per generation.",
    )
    state = {
        "_data_files": names,
        "_fingerprint": hashlib.blake2b(
            "".join(m.checksum for m in manifests).encode(), digest_size=8
        ).hexdigest(),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    storage.write_bytes("dataset_info.json", json.dumps(asdict(info), default=str).encode())
    storage.write_json("state.json", state)
