from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from vllm import EngineArgs

from pipeline.flow import engines_that_fit
from pipeline.generate.checkpoints import BUNDLED
from pipeline.generate.config import (
    SUPPORT,
    GenerateConfig,
    GenerateError,
    ModelConfig,
    ModelError,
    PromptConfig,
)
from pipeline.generate.vllm_engine import engine_arguments

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n": 0}, "generate.n is 0; give 1 or more"),
        ({"n": -2}, "generate.n is -2"),
        ({"max_tokens": 0}, "generate.max_tokens is 0"),
        ({"capture_top_k": 0}, "generate.capture_top_k is 0"),
        ({"temperature": -0.1}, "generate.temperature is -0.1"),
        ({"temperature": 0.001}, "less than 0.01"),
        ({"temperature": 0.0, "n": 5}, "greedy generations are all the same"),
        ({"top_p": 0.0}, "generate.top_p is 0.0"),
        ({"top_k": -1}, "generate.top_k is -1"),
        ({"capture": "all"}, "support, top_k, none"),
        ({"support": []}, "generate.support is empty"),
    ],
)
def test_sampling_settings_out_of_range_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(GenerateError, match=words.replace(".", r"\.")):
        GenerateConfig(**values).check()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"path": ""}, "model.path is empty"),
        ({"engine": "sglang"}, "vllm, transformers, openai"),
        ({"max_num_seqs": 0}, "model.max_num_seqs is 0"),
        ({"num_gpus": 1.5}, "whole number"),
        ({"tensor_parallel_size": 4}, "model.num_gpus=4"),
        ({"num_gpus": 2.0}, "model.tensor_parallel_size=2"),
        ({"num_gpus": 0.5, "tensor_parallel_size": 2}, "model.num_gpus=2"),
        ({"num_gpus": 0.25}, "at most 0.25"),
        ({"gpu_memory_utilization": 1.1}, "model.gpu_memory_utilization is 1.1"),
        ({"kv_cache_gib": 0.0}, "model.kv_cache_gib is 0.0"),
    ],
)
def test_model_settings_out_of_range_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words.replace(".", r"\.")):
        ModelConfig(**values).check()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"style": "instruct"}, "chat, completion"),
        ({"style": "completion", "system": "Be brief."}, "no system message"),
        ({"stop": [""]}, "empty text"),
        ({"examples": [{"question": "1+1"}]}, "keys .'question'."),
    ],
)
def test_prompt_settings_out_of_range_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(GenerateError, match=words):
        PromptConfig(**values).check()


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_model_file_has_the_keys_of_the_dataclass(path: Path) -> None:
    loaded = OmegaConf.load(path)
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), loaded))
    assert isinstance(config, ModelConfig)
    config.check()
    assert config.name == path.stem
    assert set(loaded) == set(ModelConfig.__dataclass_fields__)


@pytest.mark.parametrize(
    ("group", "kind"), [("generate", GenerateConfig), ("prompt", PromptConfig)]
)
def test_every_shipped_sampling_and_prompt_file_is_valid(group: str, kind: type) -> None:
    for path in sorted((CONF / group).glob("*.yaml")):
        loaded = OmegaConf.create(
            {k: v for k, v in OmegaConf.load(path).items() if k != "defaults"}
        )
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), loaded))
        assert isinstance(config, kind)
        config.check()


def test_the_default_file_lists_the_support_of_the_dataclass() -> None:
    assert tuple(OmegaConf.load(CONF / "generate" / "default.yaml").support) == SUPPORT


@pytest.mark.parametrize(
    "values",
    [
        {"num_gpus": 2.0, "tensor_parallel_size": 2},
        {"num_gpus": 0.5, "gpu_memory_utilization": 0.45},
        {"num_gpus": 4.0, "tensor_parallel_size": 2, "options": {"pipeline_parallel_size": 2}},
        {"num_gpus": 0.0, "tensor_parallel_size": 2},
    ],
)
def test_split_and_shared_gpus_are_accepted_when_the_settings_agree(values: dict[str, Any]) -> None:
    ModelConfig(**values).check()


def test_an_engine_split_over_gpus_runs_in_processes_of_its_actor() -> None:
    model = ModelConfig(num_gpus=2.0, tensor_parallel_size=2, gpu_memory_utilization=0.8)
    arguments = engine_arguments(model, BUNDLED, on_cpu=False)
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["distributed_executor_backend"] == "mp"
    assert arguments["gpu_memory_utilization"] == 0.8
    assert EngineArgs(**arguments).tensor_parallel_size == 2


def test_engines_that_share_a_gpu_take_their_share_of_its_memory() -> None:
    model = ModelConfig(num_gpus=0.5, gpu_memory_utilization=0.45, options={"seed": 7})
    arguments = engine_arguments(model, BUNDLED, on_cpu=False)
    assert arguments["gpu_memory_utilization"] == 0.45
    assert "distributed_executor_backend" not in arguments
    assert arguments["seed"] == 7


def test_engines_are_counted_node_by_node() -> None:
    assert engines_that_fit(1, [8, 8]) == 16
    assert engines_that_fit(2, [1, 1, 4]) == 2
    assert engines_that_fit(4, [2, 2]) == 0
    assert engines_that_fit(0.4, [1, 1]) == 4
    assert engines_that_fit(0.1, [1]) == 10
