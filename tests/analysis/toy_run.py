"""A run folder made by the real stages from the completions of a toy model.

The toy writes character by character and is unsure about digits and operators alone. Its
completions hold what breaks careless pages: markup, quotes, braces, a character whose bytes lie
in two tokens, and one completion without a program.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from hydra import compose, initialize_config_dir

from pipeline.adopt import write_generations
from pipeline.config import from_mapping
from pipeline.expand import Expander
from pipeline.plan import plan_expansion
from pipeline.run import RunFolder
from pipeline.schema import GENERATION, VOCABULARY
from pipeline.shards import read_manifests
from pipeline.storage import Storage
from pipeline.summary import merge_summary, summarise_cell

CONF = Path(__file__).resolve().parents[2] / "conf"
SUPPORT = [bytes([c]) for c in b"0123456789+-*/"]
HOSTILE = "</script><script>alert(1)</script>\"'{{7*7}}"
TEMPLATE = """Sure, caf\u00e9 maths.
```python
def compute_answer():
    note = {note!r}
    eggs = {a}
    boxes = {b}
    return eggs {op} boxes
```
"""


def config(overrides=()):
    """The composed configuration of the toy run."""
    with initialize_config_dir(str(CONF), version_base=None):
        chosen = ["task=gsm8k", "flow.block_problems=4", *overrides]
        return from_mapping(compose("config", overrides=chosen))


def generation(problem, index, rng):
    """One row of `schema.GENERATION`: right about half of the time."""
    fields = json.loads(problem["problem"])
    a, b = fields["steps"]
    if rng.random() < 0.5:
        a = (a + int(rng.integers(1, 9))) % 10
    text = TEMPLATE.format(note=HOSTILE, a=a, b=b, op="*")
    if problem["problem_id"].endswith("/1") and index == 0:
        text = "I cannot solve <b>this</b>."
    data = text.encode()
    tokens = [bytes([c]) for c in data]
    n, w = len(tokens), len(SUPPORT)
    sampled = np.full(n, -0.01, np.float32)
    candidates = np.full((n, w), -np.inf, np.float32)
    for i, token in enumerate(tokens):
        if token in SUPPORT:
            p = rng.dirichlet(np.full(w, 0.4)) * 0.5
            p[SUPPORT.index(token)] += 0.5
            candidates[i] = np.log(np.maximum(p, 1e-12))
            sampled[i] = candidates[i, SUPPORT.index(token)]
    return {
        "problem_id": problem["problem_id"],
        "generation_index": index,
        "generation_id": f"{problem['problem_id']}/{index}",
        "task": "gsm8k",
        "problem": problem["problem"],
        "prompt": f"Solve <i>{fields['question']}</i>",
        "n_prompt_tokens": 10,
        "text": text,
        "token_ids": [token[0] for token in tokens],
        "tokens": tokens,
        "logprobs": sampled.tolist(),
        "candidate_ids": [token[0] for token in SUPPORT],
        "candidate_logprobs": candidates.reshape(-1).tolist(),
        "finish_reason": "stop",
        "seed": index,
        "model": "toy",
        "model_revision": "",
        "tokenizer_revision": "",
        "sampling": "{}",
    }


def make_run(folder, n_problems=6, k=4, cells=(("sample.m=3",),)):
    """Makes a run folder with some cells and returns its path."""
    rng = np.random.default_rng(7)
    problems = []
    for i in range(n_problems):
        a, b = int(rng.integers(2, 9)), int(rng.integers(2, 9))
        question = f"{a} eggs < {b} boxes & more?"
        fields = {"question": question, "gold": float(a * b), "steps": [a, b]}
        problems.append({"problem_id": f"toy/{i}", "problem": json.dumps(fields)})
    rows = [generation(p, index, rng) for p in problems for index in range(k)]
    run = RunFolder(Storage(folder))
    made_with = config([f"generate.n={k}"])
    run.open("toy", "toykey", made_with.to_dict())
    vocabulary = pa.table(
        {"token_id": range(256), "token": [bytes([c]) for c in range(256)]}, schema=VOCABULARY
    )
    write_generations(run, pa.Table.from_pylist(rows, GENERATION), vocabulary, "toykey", 4)
    points = [(tuple(o), config([f"generations={folder}", *o])) for o in cells]
    (plan,) = plan_expansion(points)
    expander = Expander()
    try:
        names = [cell.name for cell in plan.cells]
        for block in plan.run.blocks(4):
            expander.expand_block(plan.run, plan.config, plan.key, block, names)
    finally:
        expander.close()
    plan.todo()
    shards = read_manifests(plan.run.generations)
    merge_summary(plan, [summarise_cell(plan, cell, shards) for cell in plan.cells])
    run.update(status="complete", finished_at=1.8e9)
    return str(folder)
