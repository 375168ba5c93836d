"""Makes runs of any size: real shards, real programs, synthetic logprobs.

A program asks for a few numbers and combines them, like the bundled model's; which tokens are
uncertain, and how much, is drawn. Everything downstream is the real thing.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.adopt import write_generation_shard
from pipeline.config import RunConfig, from_mapping
from pipeline.generation import vocabulary_table
from pipeline.run import RunFolder
from pipeline.schema import GENERATION
from pipeline.shards import read_manifests, write_dataset_index, write_vocabulary
from pipeline.storage import Storage

KEY = "synthetic"
_DIGITS = [str(d).encode() for d in range(10)]
_OPERATORS = [b" +", b" -", b" *", b" /", b" //", b" **"]
_WORDS = [b"```", b"python", b"\n", b"def", b" compute", b"_answer", b"():\n", b"    ", b" ="]
_WORDS += [b" ", b"return", b" total", b"total", b" first", b"first", b" second", b"second"]
VOCABULARY = [*_DIGITS, *_OPERATORS, *_WORDS]
_CANDIDATES = np.arange(len(_DIGITS) + len(_OPERATORS), dtype=np.int32)


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
    folder: Path | str, n_problems: int, n: int, block_problems: int = 64, seed: int = 0
) -> RunFolder:
    """Writes a run folder with n_problems × n generations and returns it."""
    config = compose(f"generate.n={n}", f"flow.block_problems={block_problems}")
    run = RunFolder(Storage(folder))
    run.open("synthetic", KEY, config.to_dict())
    rng = np.random.default_rng(seed)
    numbers = rng.integers(2, 999, size=(n_problems, 2))
    fields = [
        json.dumps({"question": f"{a} and {b}?", "answer": int(a + b)}, sort_keys=True)
        for a, b in numbers.tolist()
    ]
    ids = [f"word_problems/test/{i}" for i in range(n_problems)]
    run.write_problems(list(zip(ids, fields, strict=True)))
    write_vocabulary(run.generations, vocabulary_table(VOCABULARY))
    for block in run.blocks(block_problems):
        at = range(block.start, block.stop)
        table = _block(ids, fields, numbers, at, n, np.random.default_rng((seed, block.index)))
        write_generation_shard(run, block, range(n), table, KEY, {"n_tokens": 0, "gpu_s": 0.0})
    write_dataset_index(run.generations, read_manifests(run.generations))
    return run


def _block(
    ids: list[str],
    fields: list[str],
    numbers: np.ndarray,
    at: range,
    n: int,
    rng: np.random.Generator,
) -> pa.Table:
    index = {token: i for i, token in enumerate(VOCABULARY)}
    rows = []
    for i in at:
        for g in range(n):
            tokens = _program(numbers[i], rng)
            token_ids = [index[token] for token in tokens]
            logits = rng.normal(0, 1, (len(tokens), len(_CANDIDATES))).astype(np.float32)
            sampled = np.array([t if t < len(_CANDIDATES) else -1 for t in token_ids])
            known = sampled >= 0
            logits[known, sampled[known]] += rng.normal(4, 2, known.sum())
            logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            own = np.where(known, logprobs[np.arange(len(tokens)), sampled], -0.05)
            rows.append(
                {
                    "problem_id": ids[i],
                    "generation_index": g,
                    "generation_id": f"{ids[i]}/{g}",
                    "task": "word_problems",
                    "problem": fields[i],
                    "prompt": "",
                    "n_prompt_tokens": 0,
                    "text": b"".join(tokens).decode(),
                    "token_ids": token_ids,
                    "tokens": tokens,
                    "logprobs": own.tolist(),
                    "candidate_ids": _CANDIDATES,
                    "candidate_logprobs": logprobs.ravel(),
                    "finish_reason": "stop",
                    "seed": 0,
                    "model": "synthetic",
                    "model_revision": "",
                    "tokenizer_revision": "",
                    "sampling": "{}",
                }
            )
    return pa.Table.from_pylist(rows, schema=GENERATION)


def _program(numbers: np.ndarray, rng: np.random.Generator) -> list[bytes]:
    """Returns a program's tokens: two assignments and a combination, sometimes wrong."""
    a, b = numbers.tolist()
    if rng.random() < 0.4:
        b += int(rng.integers(1, 9))
    operator = b" +" if rng.random() < 0.7 else b" -"
    head = [b"```", b"python", b"\n", b"def", b" compute", b"_answer", b"():\n"]
    return [
        *head,
        *(b"    ", b"first", b" =", b" ", *_digits(a), b"\n"),
        *(b"    ", b"second", b" =", b" ", *_digits(b), b"\n"),
        *(b"    ", b"total", b" =", b" first", operator, b" second", b"\n"),
        *(b"    ", b"return", b" total", b"\n", b"```"),
    ]


def _digits(number: int) -> list[bytes]:
    return [d.encode() for d in str(number)]
