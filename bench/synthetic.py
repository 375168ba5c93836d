"""Makes runs of any size: real shards, real programs, synthetic logprobs.

A program asks for a few numbers and combines them, like the bundled model's; which tokens are
uncertain, and how much, is drawn. Everything downstream is the real thing.

Shards are made column by column, a block at a time, so that memory does not grow with the run,
and by several processes where asked; a block's content depends on its index alone.
"""

import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.adopt import write_generation_shard
from pipeline.config import RunConfig, from_mapping
from pipeline.generation import vocabulary_table
from pipeline.run import Block, RunFolder
from pipeline.schema import GENERATION
from pipeline.shards import read_manifests, write_dataset_index, write_vocabulary
from pipeline.storage import Storage

KEY = "synthetic"
_DIGITS = [str(d).encode() for d in range(10)]
_OPERATORS = [b" +", b" -", b" *", b" /", b" //", b" **"]
_WORDS = [b"```", b"python", b"\n", b"def", b" compute", b"_answer", b"():\n", b"    ", b" ="]
_WORDS += [b" ", b"return", b" total", b"total", b" first", b"first", b" second", b"second"]
VOCABULARY = [*_DIGITS, *_OPERATORS, *_WORDS]
_N_CANDIDATES = len(_DIGITS) + len(_OPERATORS)  # the first ids, at every position alike
_HEAD = [b"```", b"python", b"\n", b"def", b" compute", b"_answer", b"():\n"]
_TAIL = [b"\n", b"    ", b"return", b" total", b"\n", b"```"]
_WIDTH = 4  # digits of the largest number
_BLOCKS_PER_TASK = 16


def compose(*overrides: str) -> RunConfig:
    """Returns the default configuration with overrides, as the command line would."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    folder = str(Path(__file__).resolve().parents[1] / "conf")
    with initialize_config_dir(folder, version_base=None):
        config = hydra_compose("config", list(overrides))
    OmegaConf.resolve(config)
    return from_mapping(config)


def make_run(
    folder: Path | str,
    n_problems: int,
    n: int,
    block_problems: int = 64,
    seed: int = 0,
    processes: int = 1,
) -> RunFolder:
    """Writes a run folder with n_problems × n generations and returns it.

    Args:
        folder: where.
        n_problems: problems.
        n: generations of each.
        block_problems: problems per shard.
        seed: of everything drawn.
        processes: that write shards; the files are the same for any number.
    """
    config = compose(f"generate.n={n}", f"flow.block_problems={block_problems}")
    run = RunFolder(Storage(folder))
    run.open("synthetic", KEY, config.to_dict())
    rows = [
        (
            f"word_problems/test/{i}",
            json.dumps({"question": f"{a} and {b}?", "gold": a + b}, sort_keys=True),
        )
        for i, (a, b) in enumerate(_numbers(n_problems, seed).tolist())
    ]
    run.write_problems(rows)
    write_vocabulary(run.generations, vocabulary_table(VOCABULARY))
    blocks = range(len(run.blocks(block_problems)))
    if processes == 1:
        _write_blocks(str(folder), n, block_problems, seed, blocks)
    else:
        # Spawned: a fork would copy the locks of Arrow's threads.
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            tasks = [
                pool.submit(
                    _write_blocks,
                    str(folder),
                    n,
                    block_problems,
                    seed,
                    blocks[start : start + _BLOCKS_PER_TASK],
                )
                for start in range(0, len(blocks), _BLOCKS_PER_TASK)
            ]
            for task in tasks:
                task.result()
    write_dataset_index(run.generations, read_manifests(run.generations))
    return run


def _numbers(n_problems: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(2, 999, size=(n_problems, 2))


def _write_blocks(folder: str, n: int, block_problems: int, seed: int, indices: range) -> None:
    """Writes the generation shards of some blocks; runs in a process of its own or not."""
    run = RunFolder(Storage(folder))
    problems = run.read_problems()
    numbers = _numbers(problems.num_rows, seed)
    for block in (run.blocks(block_problems)[index] for index in indices):
        rng = np.random.default_rng((seed, block.index))
        table = _block(problems, numbers, block, n, rng)
        write_generation_shard(run, block, range(n), table, KEY, {"n_tokens": 0, "gpu_s": 0.0})


def _block(
    problems: pa.Table,
    numbers: NDArray[np.int64],
    block: Block,
    n: int,
    rng: np.random.Generator,
) -> pa.Table:
    """Returns a block's rows of `schema.GENERATION`, problem by problem."""
    own = np.repeat(np.arange(block.start, block.stop), n)
    index = np.tile(np.arange(n, dtype=np.int32), block.stop - block.start)
    token_ids, lengths = _programs(numbers[own], rng)
    own_logprobs, candidate_logprobs = _logprobs(token_ids, rng)
    tokens = _lists(pa.array(VOCABULARY, pa.binary()).take(pa.array(token_ids)), lengths)
    problem_ids = problems["problem_id"].combine_chunks().take(pa.array(own))
    columns = {
        "problem_id": problem_ids,
        "generation_index": index,
        "generation_id": pc.binary_join_element_wise(
            problem_ids, pa.array(index).cast(pa.string()), "/"
        ),
        "problem": problems["problem"].combine_chunks().take(pa.array(own)),
        "text": pc.binary_join(tokens, b"").cast(pa.string()),
        "token_ids": _lists(token_ids, lengths),
        "tokens": tokens,
        "logprobs": _lists(own_logprobs, lengths),
        "candidate_ids": _lists(
            np.tile(np.arange(_N_CANDIDATES, dtype=np.int32), len(own)),
            np.full(len(own), _N_CANDIDATES),
        ),
        "candidate_logprobs": _lists(candidate_logprobs, lengths * _N_CANDIDATES),
    }
    same = {
        "task": "word_problems",
        "prompt": "",
        "n_prompt_tokens": 0,
        "finish_reason": "stop",
        "seed": 0,
        "model": "synthetic",
        "model_revision": "",
        "tokenizer_revision": "",
        "sampling": "{}",
    }
    columns |= {name: pa.repeat(value, len(own)) for name, value in same.items()}
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in GENERATION], GENERATION)


def _lists(flat: NDArray | pa.Array, lengths: NDArray) -> pa.Array:
    """Returns a list array from its flat values and the lists' lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def _programs(
    numbers: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Returns programs' flat token ids and their lengths.

    Each is two assignments and a combination; the second number is sometimes wrong, the
    operator often.
    """
    rows = len(numbers)
    a, b = numbers[:, 0], numbers[:, 1]
    b = b + np.where(rng.random(rows) < 0.4, rng.integers(1, 9, rows), 0)
    operator = np.where(rng.random(rows) < 0.7, _id(b" +"), _id(b" -"))
    parts = [
        _same(rows, *_HEAD, b"    ", b"first", b" =", b" "),
        _digits(a),
        _same(rows, b"\n", b"    ", b"second", b" =", b" "),
        _digits(b),
        _same(rows, b"\n", b"    ", b"total", b" =", b" first"),
        operator[:, None],
        _same(rows, b" second", *_TAIL),
    ]
    padded = np.concatenate(parts, axis=1)
    there = padded >= 0
    return padded[there].astype(np.int32), there.sum(axis=1)


def _id(token: bytes) -> int:
    return VOCABULARY.index(token)


def _same(rows: int, *tokens: bytes) -> NDArray[np.int64]:
    return np.tile([_id(token) for token in tokens], (rows, 1))


def _digits(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns decimal digits, int64 [rows, _WIDTH], -1 for leading zeros."""
    powers = 10 ** np.arange(_WIDTH)[::-1]
    return np.where(numbers[:, None] >= powers, numbers[:, None] // powers % 10, -1)


def _logprobs(
    token_ids: NDArray[np.int32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the tokens' own logprobs and, flat, those of all candidates at each."""
    logits = rng.standard_normal((len(token_ids), _N_CANDIDATES), dtype=np.float32)
    known = np.flatnonzero(token_ids < _N_CANDIDATES)
    logits[known, token_ids[known]] += rng.normal(4, 2, len(known)).astype(np.float32)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = np.full(len(token_ids), -0.05, np.float32)
    own[known] = logprobs[known, token_ids[known]]
    return own, logprobs.ravel()


def main() -> None:
    """Prints how fast shards are written."""
    n_problems, n = 2_000, 20
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            run = make_run(Path(folder) / "run", n_problems, n, processes=processes)
            wall_s = time.monotonic() - started
            size = sum(manifest.n_bytes for manifest in read_manifests(run.generations))
        print(
            f"{n_problems * n:,} generations, {size / 2**20:.0f} MiB, {processes} process(es): "
            f"{wall_s:.1f} s, {n_problems * n / wall_s:,.0f} generations/s"
        )


if __name__ == "__main__":
    main()
