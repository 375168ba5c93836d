"""vLLM, the real one, and the reference engine it is checked against."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline import schema
from pipeline.generate.config import GenerateConfig, ModelConfig, ModelError, PromptConfig
from pipeline.generate.engine import Engine, EngineError, Request, make_engine
from pipeline.generate.seeds import request_seed
from pipeline.generate.transformers_engine import TransformersEngine
from pipeline.generate.vllm_engine import VllmEngine
from tests.generate.conftest import SAMPLED, requests
from tests.generate.tiny import SPECIAL

# Both engines compute in float32 but add in another order.
TOLERANCE = 1e-4
EOS = SPECIAL.index("<|im_end|>")


@pytest.fixture(params=["vllm", "transformers"])
def engine(request: pytest.FixtureRequest) -> Engine:
    name = "vllm_engine" if request.param == "vllm" else "reference_engine"
    engine = request.getfixturevalue(name)
    engine.configure(SAMPLED, PromptConfig())
    return engine


def test_rows_follow_the_order_of_requests_and_indices(engine: Engine) -> None:
    output = engine.generate(requests(4))
    assert output.table.schema == schema.GENERATION
    assert output.table["generation_id"].to_pylist() == [
        f"p{number}/{index}" for number in range(4) for index in range(3)
    ]
    assert output.bad == []
    assert output.n_tokens == sum(map(len, output.table["token_ids"].to_pylist()))


def test_a_row_holds_what_the_cpu_side_needs(engine: Engine) -> None:
    row = engine.generate(requests(1, n=1)).table.to_pylist()[0]
    n, width = len(row["token_ids"]), len(row["candidate_ids"])
    assert len(row["tokens"]) == len(row["logprobs"]) == n
    assert len(row["candidate_logprobs"]) == n * width
    assert b"".join(row["tokens"]).decode("utf-8", "replace") == row["text"]
    assert row["prompt"].endswith("<|im_start|>assistant\n")
    assert row["seed"] == request_seed(0, "p0", 0)
    assert row["model_revision"].startswith("files-")
    assert '"logprobs_mode": "raw_logprobs"' in row["sampling"]
    assert '"temperature": 1.0' in row["sampling"]


def test_the_same_seed_gives_the_same_rows_whatever_is_asked_beside(engine: Engine) -> None:
    alone = engine.generate(requests(1)).table
    assert engine.generate(requests(3)).table.slice(0, 3).equals(alone)
    later = engine.generate(requests(1, n=3, start=1)).table
    assert later.equals(alone.slice(1))


def test_generations_of_a_problem_and_runs_with_other_seeds_differ(engine: Engine) -> None:
    first = engine.generate(requests(1)).table["token_ids"].to_pylist()
    assert len({tuple(ids) for ids in first}) == 3
    engine.configure(SAMPLED, PromptConfig(), seed=1)
    assert engine.generate(requests(1)).table["token_ids"].to_pylist() != first


@pytest.mark.parametrize("capture", ["support", "top_k"])
def test_vllm_reports_the_logprobs_of_a_forward_pass(
    vllm_engine: VllmEngine, reference_engine: TransformersEngine, capture: str
) -> None:
    vllm_engine.configure(replace(SAMPLED, capture=capture, temperature=1.5), PromptConfig())
    everything = list(range(len(vllm_engine.vocabulary())))
    for row in vllm_engine.generate(requests(3)).table.to_pylist():
        _, prompt = vllm_engine.encode_request(requests(3)[int(row["problem_id"][1:])])
        own, all_ = reference_engine.score([prompt], [row["token_ids"]], everything)[0]
        assert np.abs(own - np.asarray(row["logprobs"])).max() < TOLERANCE
        n = len(row["token_ids"])
        ids = np.asarray(row["candidate_ids"])
        ids = np.tile(ids, (n, 1)) if capture == "support" else ids.reshape(n, -1)
        assert ids.shape[1] == (len(vllm_engine.support) if capture == "support" else 20)
        expected = np.take_along_axis(all_, ids, axis=1)
        given = np.asarray(row["candidate_logprobs"]).reshape(n, -1)
        assert np.abs(given - expected).max() < TOLERANCE
        if capture == "top_k":  # the most probable ones, best first
            best = -np.sort(-all_, axis=1)[:, :20]
            assert np.abs(given - best).max() < TOLERANCE


def test_capture_does_not_change_what_is_sampled(engine: Engine) -> None:
    plain = engine.generate(requests(2)).table
    for capture in ("top_k", "none"):
        engine.configure(replace(SAMPLED, capture=capture), PromptConfig())
        table = engine.generate(requests(2)).table
        for name in ("token_ids", "logprobs", "tokens"):
            assert table[name].equals(plain[name])
    assert table["candidate_ids"].null_count == 6


def test_greedy_completions_of_both_engines_are_equal(
    vllm_engine: VllmEngine, reference_engine: TransformersEngine
) -> None:
    greedy = GenerateConfig(n=1, temperature=0.0, max_tokens=24)
    texts = []
    for engine in (vllm_engine, reference_engine):
        engine.configure(greedy, PromptConfig())
        texts.append(engine.generate(requests(4, n=1)).table["token_ids"].to_pylist())
    assert texts[0] == texts[1]


def test_truncated_sampling_stays_within_the_top_k(engine: Engine) -> None:
    settings = replace(SAMPLED, top_k=3, capture="top_k", capture_top_k=3)
    engine.configure(settings, PromptConfig())
    for row in engine.generate(requests(2)).table.to_pylist():
        best = np.asarray(row["candidate_ids"]).reshape(-1, 3)
        assert all(token in three for token, three in zip(row["token_ids"], best, strict=True))


def test_sampled_frequencies_follow_the_captured_probabilities(vllm_engine: VllmEngine) -> None:
    n = 2000
    settings = replace(SAMPLED, n=n, max_tokens=1, capture="top_k", capture_top_k=20)
    vllm_engine.configure(settings, PromptConfig())
    rows = vllm_engine.generate(requests(1, n=n)).table.to_pylist()
    ids = rows[0]["candidate_ids"]
    probabilities = np.exp(rows[0]["candidate_logprobs"])
    drawn = [row["token_ids"][0] for row in rows]
    frequencies = np.asarray([drawn.count(token_id) for token_id in ids]) / n
    error = np.sqrt(probabilities * (1 - probabilities) / n)
    assert np.all(np.abs(frequencies - probabilities) < 5 * error)


def test_a_prompt_longer_than_the_context_is_one_bad_row_per_generation(engine: Engine) -> None:
    long = Request("long", "toy", "{}", [{"role": "user", "content": "x y " * 300}], range(2))
    output = engine.generate([long, *requests(1)])
    assert output.table["problem_id"].to_pylist() == ["p0"] * 3
    assert [(bad["problem_id"], bad["generation_index"]) for bad in output.bad] == [
        ("long", 0),
        ("long", 1),
    ]
    assert "the context of model tiny is 256" in output.bad[0]["reason"]
    assert "GenerateError" in output.bad[0]["traceback"]


def test_a_prompt_that_nearly_fills_the_context_ends_by_length(engine: Engine) -> None:
    text = "x" * 200
    while engine.preview(text).n_tokens < 250:
        text += "x"
    output = engine.generate([Request("p", "toy", "{}", text)])
    row = output.table.to_pylist()[0]
    assert row["n_prompt_tokens"] == 250
    assert len(row["token_ids"]) <= 6
    assert row["finish_reason"] == "length" or row["token_ids"][-1] in (EOS, 0)


def test_stopping_keeps_the_stop_token_with_empty_bytes(engine: Engine) -> None:
    common = engine.generate(requests(1)).table["token_ids"].to_pylist()[0][5]
    engine.configure(replace(SAMPLED, stop_token_ids=[common]), PromptConfig())
    row = engine.generate(requests(1)).table.to_pylist()[0]
    assert row["finish_reason"] == "stop"
    assert row["token_ids"][-1] == common
    assert row["token_ids"].index(common) == len(row["token_ids"]) - 1
    assert engine.vocabulary()[EOS] == b""


def test_a_stop_text_ends_the_completion_before_it(engine: Engine) -> None:
    whole = engine.generate(requests(1)).table.to_pylist()[0]
    at = next(i for i in range(5, 20) if whole["tokens"][i].isascii())
    stop = whole["tokens"][at].decode()
    engine.configure(SAMPLED, PromptConfig(stop=[stop]))
    row = engine.generate(requests(1)).table.to_pylist()[0]
    before = b"".join(whole["tokens"]).partition(stop.encode())[0]
    assert b"".join(row["tokens"]) == before
    assert row["finish_reason"] == "stop"


def test_scoring_a_text_gives_the_logprobs_of_its_generation(vllm_engine: VllmEngine) -> None:
    asked = requests(2)
    rows = vllm_engine.generate(asked).table.to_pylist()
    prompts = [vllm_engine.encode_request(asked[i // 3])[1] for i in range(6)]
    scores = vllm_engine.score(prompts, [row["token_ids"] for row in rows])
    for row, score in zip(rows, scores, strict=True):
        assert np.abs(score - np.asarray(row["logprobs"])).max() < TOLERANCE


def test_images_are_refused_by_an_engine_for_text(reference_engine: TransformersEngine) -> None:
    from PIL import Image

    reference_engine.configure(SAMPLED, PromptConfig())
    part = {"type": "image", "image": Image.new("RGB", (8, 8))}
    message = {"role": "user", "content": [part, {"type": "text", "text": "draw"}]}
    bad = reference_engine.generate([Request("p", "toy", "{}", [message])]).bad
    assert "takes no images" in bad[0]["reason"]


def test_a_broken_model_is_refused_before_an_engine_starts(tiny_config: ModelConfig) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        make_engine(replace(tiny_config, path="/nowhere"), SAMPLED, PromptConfig())


def test_what_the_engine_says_of_itself_fits_into_json(engine: Engine) -> None:
    import json

    info = json.loads(json.dumps(engine.info()))
    assert info["model"] == "tiny"
    assert info["logprobs_mode"] == "raw_logprobs"
    assert "torch" in info["versions"]


def test_a_vllm_that_dies_while_it_is_asked_ends_as_an_engine_error(
    vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> None:
        raise RuntimeError("the core is gone")

    with monkeypatch.context() as patch:
        patch.setattr(vllm_engine.vllm, "add_request", dead)
        with pytest.raises(EngineError, match=r"vLLM died \(RuntimeError: the core is gone\)"):
            vllm_engine.generate(requests(1))
    with pytest.raises(EngineError, match="start another engine"):
        vllm_engine.generate(requests(1))
    monkeypatch.setattr(vllm_engine, "_dead", False)  # it lives: other tests share it
    assert vllm_engine.generate(requests(1)).table.num_rows == 3
