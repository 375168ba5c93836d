"""What to load, how to prompt it and how to sample from it."""

from dataclasses import dataclass, field
from typing import Any

ENGINES = ("vllm", "transformers", "openai")
CAPTURES = ("support", "top_k", "none")
STYLES = ("chat", "completion")
MAX_SUPPORT_IDS = 128  # vLLM's limit on logprob_token_ids
# Spellings that the rules digit, compare, arithmetic and augment may put at a position.
SUPPORT = (
    *"0123456789",
    *("<=", ">=", "==", ">", "<", "!="),
    *("+", "-", "*", "/", "//", "**", "(+", "(-"),
    *("+=", "-=", "*=", "/=", "//="),
)


class ModelError(ValueError):
    """A model is missing, broken or does not fit the settings; says what, where and the cure."""


class GenerateError(ValueError):
    """A sampling or prompt setting is out of range; says which and what to give."""


@dataclass
class ModelConfig:
    """Which model, in which engine, on what.

    Attributes:
        name: short name for folders and tables.
        path: folder or hub id; "bundled": the checkpoint shipped with this package.
        revision: the hub's branch, tag or commit; empty: its default.
        engine: "vllm", "transformers" (slow, the reference) or "openai" (an HTTP server).
        dtype: of the weights: "auto", "float32", "bfloat16", "float16".
        max_model_len: context in tokens, prompt and completion together; 0: the model's own.
        max_num_seqs: sequences decoded at once.
        max_logprobs: largest `generate.capture_top_k` that the engine is set up for.
        num_gpus: GPUs that one engine reserves: a fraction (several engines share one), 1,
            or `tensor_parallel_size`; 0 reserves none.
        tensor_parallel_size: GPUs that one engine splits the model over.
        gpu_memory_utilization: share of each GPU's memory that the engine takes.
        kv_cache_gib: GiB for the key-value cache on a machine without a GPU.
        enforce_eager: no graph compilation; null: only on a machine without a GPU, where it
            takes longer than it saves.
        trust_remote_code: run Python code that comes with the model; off unless you trust it.
        hang_timeout_s: seconds without a finished engine step after which the process ends,
            to be started anew; 0: never.
        base_url: for "openai": where the server is.
        options: further arguments of the engine, passed as they are.
    """

    name: str = "bundled"
    path: str = "bundled"
    revision: str = ""
    engine: str = "vllm"
    dtype: str = "auto"
    max_model_len: int = 0
    max_num_seqs: int = 256
    max_logprobs: int = 20
    num_gpus: float = 1.0
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    kv_cache_gib: float = 1.0
    enforce_eager: bool | None = None
    trust_remote_code: bool = False
    hang_timeout_s: float = 600.0
    base_url: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Checks the settings by themselves; `checkpoints.check_model` looks at the files.

        Raises: ModelError.
        """
        if not self.path:
            raise ModelError("model.path is empty; give a folder, a hub id or 'bundled'")
        if self.engine not in ENGINES:
            raise ModelError(f"model.engine is {self.engine!r}; give one of {', '.join(ENGINES)}")
        for name in ("max_num_seqs", "max_logprobs", "tensor_parallel_size"):
            if getattr(self, name) < 1:
                raise ModelError(f"model.{name} is {getattr(self, name)}; give 1 or more")
        for name in ("max_model_len", "num_gpus", "hang_timeout_s"):
            if getattr(self, name) < 0:
                raise ModelError(f"model.{name} is {getattr(self, name)}; give 0 or more")
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise ModelError(
                f"model.num_gpus is {self.num_gpus}; above 1 it must be a whole number"
            )
        split = self.tensor_parallel_size * int(self.options.get("pipeline_parallel_size", 1))
        if (split > 1 or self.num_gpus > 1) and self.num_gpus not in (0, split):
            raise ModelError(
                f"model.tensor_parallel_size is {self.tensor_parallel_size} but model.num_gpus is "
                f"{self.num_gpus:g}; an engine reserves as many GPUs as it is split over: set "
                f"model.num_gpus={split} or model.tensor_parallel_size={max(1, self.num_gpus):g}"
            )
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ModelError(
                f"model.gpu_memory_utilization is {self.gpu_memory_utilization}; give a share "
                "above 0, at most 1"
            )
        if 0 < self.num_gpus < 1 and self.gpu_memory_utilization > self.num_gpus:
            raise ModelError(
                f"model.num_gpus={self.num_gpus:g} lets {int(1 / self.num_gpus)} engines share a "
                f"GPU, but each would take {self.gpu_memory_utilization:g} of its memory; set "
                f"model.gpu_memory_utilization to at most {self.num_gpus:g}"
            )
        if self.kv_cache_gib <= 0:
            raise ModelError(f"model.kv_cache_gib is {self.kv_cache_gib}; give more than 0")


@dataclass
class GenerateConfig:
    """How to sample and which logprobs to keep.

    Attributes:
        n: generations per problem.
        temperature: of the LLM; 0 is greedy, of which there is but one generation.
        top_p: nucleus: smallest set of tokens with this probability is sampled from; 1: all.
        top_k: sample from so many most probable tokens; 0: all.
        max_tokens: longest completion, in tokens.
        stop_token_ids: tokens that end a completion, beside the model's own.
        capture: "support": exact logprobs of every token that spells one of `support`;
            "top_k": of the `capture_top_k` most probable tokens; "none": of the sampled
            token alone. All raw: before temperature and truncation.
        capture_top_k: candidates per position in "top_k" mode.
        support: spellings for "support", spaces around them aside.
    """

    n: int = 1
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 512
    stop_token_ids: list[int] = field(default_factory=list)
    capture: str = "support"
    capture_top_k: int = 20
    support: list[str] = field(default_factory=lambda: list(SUPPORT))

    def check(self) -> None:
        """Raises: GenerateError if a value is out of range."""
        for name in ("n", "max_tokens", "capture_top_k"):
            if getattr(self, name) < 1:
                raise GenerateError(f"generate.{name} is {getattr(self, name)}; give 1 or more")
        if not 0 <= self.temperature <= 2:
            raise GenerateError(f"generate.temperature is {self.temperature}; give 0 to 2")
        if 0 < self.temperature < 0.01:
            raise GenerateError(
                f"generate.temperature is {self.temperature}; engines treat less than 0.01 in "
                "different ways: give 0 for greedy, or 0.01 and more"
            )
        if self.temperature == 0 and self.n > 1:
            raise GenerateError(
                f"generate.n is {self.n} at generate.temperature=0: greedy generations are all "
                "the same; give n=1, or a temperature above 0"
            )
        if not 0 < self.top_p <= 1:
            raise GenerateError(f"generate.top_p is {self.top_p}; give above 0, at most 1")
        if self.top_k < 0:
            raise GenerateError(f"generate.top_k is {self.top_k}; give 0 (all) or more")
        if self.capture not in CAPTURES:
            raise GenerateError(
                f"generate.capture is {self.capture!r}; give one of {', '.join(CAPTURES)}"
            )
        if self.capture == "support" and not self.support:
            raise GenerateError("generate.support is empty; list spellings, or capture=top_k")


@dataclass
class PromptConfig:
    """How a problem becomes the text that the model continues.

    Attributes:
        style: "chat": the task's messages through the model's chat template; "completion":
            the task's plain text, for base models.
        system: system message of the chat style, in place of the task's; empty: the task's.
        examples: few-shot examples before the problem, each {"prompt": …, "completion": …};
            in the chat style they are earlier turns.
        stop: texts that end a completion; cut from it. They make the engine detokenize,
            which costs speed on small models.
        chat_template_kwargs: passed to the chat template, such as {"enable_thinking": false}.
    """

    style: str = "chat"
    system: str = ""
    examples: list[dict[str, str]] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises: GenerateError if a value is out of range."""
        if self.style not in STYLES:
            raise GenerateError(f"prompt.style is {self.style!r}; give one of {', '.join(STYLES)}")
        if self.system and self.style == "completion":
            raise GenerateError(
                "prompt.system is set but prompt.style=completion has no system message; use "
                "prompt.style=chat or drop it"
            )
        if "" in self.stop:
            raise GenerateError("prompt.stop holds an empty text; remove it")
        for number, example in enumerate(self.examples):
            if set(example) != {"prompt", "completion"}:
                raise GenerateError(
                    f"prompt.examples[{number}] has the keys {sorted(example)}; give prompt and "
                    "completion"
                )
