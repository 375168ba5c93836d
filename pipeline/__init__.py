"""Probabilistic programs of thought as a distributed batch pipeline.

The data flows through these modules, in this order:

    tasks      problems, prompts, program extraction, checks: one file per benchmark
    generate   an engine (vLLM) writes completions with logprobs
    shards     completions as Arrow shards (rows of `schema`), atomic and checksummed
    program    a completion becomes a distribution over programs; samplers draw variants
    execute    variants run in a sandbox, results come back as `values`
    vote       answers are normalised, voted on and scored
    export     verified programs become fine-tuning data

`expand` joins program, execute and vote for one block of problems, all cells of a sweep in
one pass (`passes`: which programs each cell holds is in `views`, its rows are in `cells`);
`workers` makes `generate` and `expand` Ray actors; `flow` streams blocks through them and
`drive` follows it; `run` owns the run folder, `todo` tells what is left to do in it. Stages
meet only in the rows of `schema`: they do not import each other.
"""

__version__ = "0.1.0"
