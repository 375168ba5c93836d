"""The whole configuration: one typed group per stage, in flow order."""

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.execute.config import ExecuteConfig
from pipeline.generate.config import GenerateConfig, ModelConfig, PromptConfig
from pipeline.program.config import CompileConfig, RulesConfig, SampleConfig
from pipeline.run import fingerprint
from pipeline.schema import SCHEMA_VERSION
from pipeline.tasks.base import TaskConfig
from pipeline.vote.config import VoteConfig

# What does not change what a model writes: where it runs and how it is packed.
_MODEL_PLACEMENT = {
    "num_gpus",
    "gpu_memory_utilization",
    "tensor_parallel_size",
    "kv_cache_gib",
    "base_url",
    "max_num_seqs",
    "max_logprobs",
    "hang_timeout_s",
    "enforce_eager",
}


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of range; says which and what to give."""


@dataclass
class FlowConfig:
    """Where and how wide the stages run; changes no result.

    Attributes:
        block_problems: problems per block, the unit of work and of loss when a node dies.
        generate_actors: engines; 0: from one up to what the cluster's GPUs hold.
        expand_actors: CPU workers; 0: from one up to what the cluster's CPUs hold.
        ray_address: of a running cluster ("auto", "ray://host:10001"); empty: start Ray here.
        num_cpus: CPUs of this machine to use when Ray is started here; 0: all.
        max_attempts: times a block may kill its worker before its problems are tried one by
            one and the culprit is quarantined.
        max_bad_fraction: share of quarantined generations above which the run fails.
        grace_s: seconds to finish what is begun after SIGTERM or Ctrl-C.
        cache: share execution results between cells and runs ("" turns it off): a folder.
    """

    block_problems: int = 64
    generate_actors: int = 0
    expand_actors: int = 0
    ray_address: str = ""
    num_cpus: int = 0
    max_attempts: int = 3
    max_bad_fraction: float = 0.01
    grace_s: float = 25.0
    cache: str = ""

    def check(self) -> None:
        """Raises: ConfigError if a value is out of range."""
        for name in ("block_problems", "max_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"flow.{name} is {getattr(self, name)}; give 1 or more")
        for name in ("generate_actors", "expand_actors", "num_cpus", "grace_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"flow.{name} is {getattr(self, name)}; give 0 or more")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ConfigError(f"flow.max_bad_fraction is {self.max_bad_fraction}; give 0 to 1")


@dataclass
class BudgetConfig:
    """When to stop cleanly, everything done so far usable; 0 is no limit.

    Attributes:
        gpu_hours: hours of engines at work, summed over engines and their GPUs.
        wall_hours: hours since this invocation began.
        gpu_price: currency per GPU hour, for the estimate; 0 shows none.
    """

    gpu_hours: float = 0.0
    wall_hours: float = 0.0
    gpu_price: float = 0.0

    def check(self) -> None:
        """Raises: ConfigError if a value is out of range."""
        for name in ("gpu_hours", "wall_hours", "gpu_price"):
            if getattr(self, name) < 0:
                raise ConfigError(f"budget.{name} is {getattr(self, name)}; give 0 or more")


@dataclass
class LoggerConfig:
    """Where events go beside events.jsonl.

    Attributes:
        wandb: "online", "offline" or "disabled"; online without a key becomes offline.
        project: W&B project.
        entity: W&B team or user; empty: the default.
        group: W&B group; empty: the sweep's or run's name.
        tags: W&B tags.
        max_table_problems: sampled problems in the W&B table, at most 1000.
    """

    wandb: str = "disabled"
    project: str = "ppot"
    entity: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    max_table_problems: int = 200

    def check(self) -> None:
        """Raises: ConfigError if a value is out of range."""
        if self.wandb not in ("online", "offline", "disabled"):
            raise ConfigError(f"logger.wandb is {self.wandb!r}; give online, offline or disabled")
        if not 0 <= self.max_table_problems <= 1000:
            raise ConfigError(
                f"logger.max_table_problems is {self.max_table_problems}; give 0 to 1000"
            )


@dataclass
class RunConfig:
    """Everything that determines a run.

    Attributes:
        experiment: names the folder below `runs_dir`.
        runs_dir: where run folders lie: a path, s3://… or gs://…
        seed: root of all random streams.
        generations: for jobs.expand: a run folder, or a folder of generation shards.
        n: generations per problem that a cell uses; 0: all of generate.n.
    """

    experiment: str = "default"
    runs_dir: str = "runs"
    seed: int = 0
    generations: str = ""
    n: int = 0
    task: TaskConfig = MISSING
    prompt: PromptConfig = MISSING
    model: ModelConfig = MISSING
    generate: GenerateConfig = MISSING
    rules: RulesConfig = MISSING
    compile: CompileConfig = MISSING
    sample: SampleConfig = MISSING
    execute: ExecuteConfig = MISSING
    vote: VoteConfig = MISSING
    flow: FlowConfig = MISSING
    logger: LoggerConfig = MISSING
    budget: BudgetConfig = MISSING

    def check(self) -> None:
        """Checks every group. Raises: a ValueError with a sentence."""
        for group in dataclasses.fields(self):
            check = getattr(getattr(self, group.name), "check", None)
            if check:
                check()
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give 0 or more")
        if not 0 <= self.n <= self.generate.n:
            raise ConfigError(
                f"n is {self.n}; give 0 (all) to generate.n={self.generate.n}: a cell cannot "
                "use more generations than there are"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as plain nested data."""
        return dataclasses.asdict(self)

    def generation_key(self, model_revision: str) -> str:
        """Returns the fingerprint of what determines the generations, `generate.n` apart.

        Args:
            model_revision: digest or commit of the weights, so that a retrained model in the
                same folder is another model.
        """
        config = self.to_dict()
        model = {k: v for k, v in config["model"].items() if k not in _MODEL_PLACEMENT}
        generate = {k: v for k, v in config["generate"].items() if k != "n"}
        return fingerprint(
            {
                "task": config["task"],
                "prompt": config["prompt"],
                "model": {**model, "content": model_revision},
                "generate": generate,
                "seed": self.seed,
                "block_problems": self.flow.block_problems,
                "schema": SCHEMA_VERSION,
            }
        )


@dataclass(frozen=True)
class Cell:
    """One point of a sweep over the same generations.

    Attributes:
        name: its folder, a fingerprint of all that determines its results.
        n: generations per problem that it uses.
        config: its configuration.
        overrides: what was said on the command line, for the index of the sweep.
    """

    name: str
    n: int
    config: RunConfig
    overrides: tuple[str, ...] = ()


def make_cell(config: RunConfig, generations: str, overrides: tuple[str, ...] = ()) -> Cell:
    """Returns the cell of a configuration over the generations with that fingerprint."""
    n = config.n or config.generate.n
    groups = ("task", "rules", "compile", "sample", "execute", "vote")
    content = config.to_dict()
    name = fingerprint(
        {
            **{group: content[group] for group in groups},
            "n": n,
            "seed": config.seed,
            "generations": generations,
            "schema": SCHEMA_VERSION,
        }
    )
    return Cell(name, n, config, overrides)


def from_saved(mapping: dict[str, Any]) -> RunConfig:
    """Returns the configuration that `RunConfig.to_dict` gave; it was checked then.

    Raises: ConfigError if it was written by a version with other keys.
    """
    return _build(RunConfig, mapping, "")


_hints = lru_cache(get_type_hints)


def _build(kind: Any, mapping: dict[str, Any], where: str) -> Any:
    hints = _hints(kind)
    unknown = sorted(mapping.keys() - hints.keys())
    if unknown:
        raise ConfigError(
            f"{where}{unknown[0]} is no setting of this version; use the ppot that wrote it"
        )
    return kind(**{key: _read(hints[key], v, f"{where}{key}.") for key, v in mapping.items()})


def _read(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    inner = get_args(kind)
    if get_origin(kind) is list and inner and dataclasses.is_dataclass(inner[0]):
        return [_build(inner[0], entry, where) for entry in value]
    return value


@lru_cache(1)
def _schema() -> DictConfig:
    return OmegaConf.structured(RunConfig)


def from_mapping(mapping: DictConfig | dict[str, Any]) -> RunConfig:
    """Returns the typed, checked configuration.

    Raises: ConfigError for an unknown key or a wrong type, the groups' own errors for a value
        out of range.
    """
    try:
        given = mapping if isinstance(mapping, DictConfig) else OmegaConf.create(mapping)
        content: Any = OmegaConf.to_container(given, resolve=True)
        # Key by key, and each value once: the points of a sweep have most of theirs in common,
        # and OmegaConf takes milliseconds for each.
        typed = {key: _typed(key, pickle.dumps(value)) for key, value in content.items()}
    except OmegaConfBaseException as error:
        where = getattr(error, "full_key", None)
        what = str(error).split("\n", 1)[0]
        raise ConfigError(
            f"{f'{where}: ' if where else ''}{what}; see conf/ for the keys"
        ) from error
    for key in _schema():
        if key not in typed and OmegaConf.is_missing(_schema(), key):
            raise ConfigError(f"{key} is not given; see conf/ for the keys")
    config = from_saved(copy.deepcopy(typed))
    config.check()
    return config


@lru_cache(1024)
def _typed(key: str, pickled: bytes) -> Any:
    """Returns a top-level value as plain data of the types that its dataclass declares."""
    value = OmegaConf.select(OmegaConf.merge(_schema(), {key: pickle.loads(pickled)}), key)
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, throw_on_missing=True)
    return value
