"""The native engine: real decoding of tiny models and the demo model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget.engine import Options, Request
from inferno_widget.engine.context import N_SEQ_MAX
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.recording import LARGE_VOCABULARY
from inferno_widget.errors import Cancelled, ContextFullError, InfernoError, ModelLoadError
from inferno_widget.record import Kind
from inferno_widget.sampling import Sampler, draw
from inferno_widget.stats import describe
from tests.engine.conftest import EXACT
from tests.engine.tools import DEMO, Driver, Switch, assert_same, drain, ignore, tokens
from tests.make_models import f32_copy
from tests.reference import Reference

EXACT_NATS = 1e-3
TEXT = "once upon a time there was a king who had three sons and the dragon in the forest said to her"
WARM = Sampler(temperature=1.2, top_k=0, top_p=1.0, min_p=0.0, seed=5)

Models = dict[str, tuple[Path, int]]
Open = Callable[..., Driver]


@pytest.fixture
def open_model(models: Models) -> Iterator[Open]:
    opened: list[LlamaEngine] = []

    def open_(name: str = "tiny", **options: object) -> Driver:
        chosen = Options(**{**EXACT.__dict__, **options})
        opened.append(LlamaEngine(str(models[name][0]), chosen, cancel=Switch(), progress=ignore))
        return Driver(opened[-1], Switch)

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture(scope="module", params=["tiny", "large"])
def either(request: pytest.FixtureRequest, models: Models) -> Iterator[Driver]:
    """Both ways to do the sums: here, and in another thread for large vocabularies."""
    engine = LlamaEngine(str(models[request.param][0]), EXACT, cancel=Switch(), progress=ignore)
    assert (engine.n_vocab >= LARGE_VOCABULARY) == (request.param == "large")
    yield Driver(engine, Switch)
    engine.close()


def prompt(driver: Driver, text: str = TEXT) -> list[int]:
    return driver.engine.tokenize(text, special=True)


# --- logits and scores --------------------------------------------------------------------------------


def test_logits_of_an_f32_model_equal_the_float64_reference(native: Driver, models: Models) -> None:
    ids = prompt(native, TEXT * 2)
    expected = Reference(models["tiny"][0]).logits(ids)
    branch = native.prefill(ids)
    for at in (1, 2, len(ids) // 2, len(ids)):
        assert np.abs(native.engine.logits(branch, at, cancel=Switch()) - expected[at - 1]).max() < 1e-3


@pytest.mark.parametrize(("cache", "nearness"), [("f32", 1e-3), ("f16", 5e-2)])
def test_logits_of_the_demo_models_weights_equal_the_float64_reference(
    tmp_path: Path, cache: str, nearness: float
) -> None:
    path = f32_copy(DEMO, tmp_path / "f32.gguf")
    engine = LlamaEngine(
        str(path), Options(n_ctx=512, n_threads=1, type_k=cache, type_v=cache), cancel=Switch(), progress=ignore
    )
    rows, expected = row_by_row(Driver(engine, Switch))
    engine.close()
    assert np.abs(rows - expected).max() < nearness


def test_logits_of_the_demo_model_itself_are_as_near_as_8_bits_allow(demo: Driver) -> None:
    """llama.cpp rounds what it multiplies with Q8_0 weights to 8 bits too: noise that the reference has not."""
    rows, expected = row_by_row(demo)
    assert np.abs(rows - expected).max() < 0.2
    assert (rows - expected).std() < 0.04
    for row, exact in zip(rows, expected.astype(np.float32), strict=True):
        best = int(exact.argmax())
        assert abs(describe(row, best, 1).logprob - describe(exact, best, 1).logprob) < 0.1


def row_by_row(driver: Driver) -> tuple[np.ndarray, np.ndarray]:
    """The engine's rows of a sentence, and the reference's, which dequantises the demo model."""
    ids = prompt(driver, "Once upon a time there was a king who had three")
    branch = driver.prefill(ids)
    rows = [driver.engine.logits(branch, at, cancel=Switch()) for at in range(1, len(ids) + 1)]
    return np.stack(rows), Reference(DEMO).logits(ids)


@pytest.mark.parametrize("n_batch", [1, 7, 64, 512])
def test_prefill_scores_like_the_reference_whatever_the_batch(open_model: Open, models: Models, n_batch: int) -> None:
    driver = open_model(n_batch=n_batch)
    ids = prompt(driver, TEXT * 2)
    expected = Reference(models["tiny"][0]).logits(ids)
    driver.prefill(ids, k=5)
    assert tokens(driver.records) == ids
    assert driver.finish == "length"
    first, *others = driver.records
    assert np.isnan([first.logprob, first.entropy, first.tail]).all()
    assert (first.rank, len(first.top_ids)) == (0, 0)
    for at, record in enumerate(others, 1):
        said = describe(expected[at - 1].astype(np.float32), ids[at], 5)
        assert abs(record.logprob - said.logprob) < EXACT_NATS
        assert abs(record.entropy - said.entropy) < EXACT_NATS
        assert (record.position, record.kind, record.kept) == (at, Kind.PROMPT, 0)
        assert np.isnan([record.sampled_prob, record.draw]).all()


def test_prefill_equals_token_by_token(either: Driver) -> None:
    ids = prompt(either)
    either.prefill(ids)
    at_once = either.records
    branch, singly = either.engine.branch(None, 0), []
    for token in ids:
        either.prefill([token], branch=branch)
        singly += either.records
    assert_same(at_once, singly, nats=EXACT_NATS)


def test_two_prefills_that_take_turns_score_like_one_alone(open_model: Open) -> None:
    driver = open_model(n_batch=8)
    ids = {text: prompt(driver, text) for text in (TEXT, "who said that a dragon " * 4)}
    alone = {}
    for text, mine in ids.items():
        driver.prefill(mine)
        alone[text] = driver.records
    running = {
        text: driver.engine.prefill(driver.engine.branch(None, 0), mine, k=20, cancel=Switch(), progress=ignore)
        for text, mine in ids.items()
    }
    together: dict[str, list] = {text: [] for text in ids}
    while running:
        for text in list(running):
            try:
                together[text].append(next(running[text]))
            except StopIteration:
                del running[text]
    for text in ids:
        assert_same(alone[text], together[text], nats=EXACT_NATS)


def test_prefill_goes_on_after_its_branch_was_evicted(open_model: Open) -> None:
    driver = open_model(n_ctx=256, n_batch=16)
    ids = (prompt(driver) * 10)[:200]
    driver.prefill(ids)
    alone = driver.records
    steps = driver.engine.prefill(driver.engine.branch(None, 0), ids, k=20, cancel=Switch(), progress=ignore)
    begun = [next(steps) for _ in range(50)]
    driver.prefill(ids[::-1])  # needs the room
    assert_same(alone, begun + drain(steps)[0], nats=EXACT_NATS)


def test_generated_records_are_the_raw_distribution(either: Driver) -> None:
    branch = either.prefill(prompt(either))
    records = either.generate(branch, 12, WARM, k=6)
    for record in records:
        row = either.engine.logits(branch, record.position, cancel=Switch())
        said = describe(row, record.token_id, 6)
        assert record.kind is Kind.GENERATED
        assert abs(record.logprob - said.logprob) < EXACT_NATS
        assert abs(record.entropy - said.entropy) < EXACT_NATS
        assert abs(record.tail - said.tail) < EXACT_NATS
        assert record.kept == either.engine.n_vocab
        assert record.draw == draw(5, record.position)
        assert record.top_kept.all()


def test_what_the_sampler_kept_is_marked(native: Driver) -> None:
    branch = native.prefill(prompt(native))
    for record in native.generate(branch, 10, Sampler(top_k=3, top_p=1.0, min_p=0.0, seed=1), k=8):
        assert record.top_kept.tolist() == [True] * 3 + [False] * 5
        assert record.kept == 3


# --- the same dice, however a run is cut up --------------------------------------------------------------


def test_same_seed_gives_the_same_tokens_however_it_is_run(either: Driver) -> None:
    ids = prompt(either)
    whole = tokens(either.generate(either.prefill(ids), 24, WARM))
    assert len(whole) == 24

    branch = either.prefill(ids)
    assert [tokens(either.generate(branch, 1, WARM))[0] for _ in whole] == whole

    branch, cancel, made = either.prefill(ids), Switch(), []
    steps = either.steps(branch, 24, WARM, cancel=cancel)
    made = [next(steps) for _ in range(9)]
    cancel.set()
    rest, finish = drain(steps)
    assert finish == "cancelled"
    made += rest
    made += either.generate(branch, 24 - len(made), WARM)
    assert tokens(made) == whole
    assert [record.position for record in made] == list(range(len(ids), len(ids) + 24))

    either.generate(either.engine.branch(branch, len(ids) + 5), 10, Sampler(seed=99))  # the road not taken
    back = either.engine.branch(branch, len(ids) + 10)
    assert tokens(either.generate(back, 14, WARM)) == whole[10:]


def test_other_seeds_give_other_tokens(native: Driver) -> None:
    ids = prompt(native)
    assert tokens(native.generate(native.prefill(ids), 24, WARM)) != tokens(
        native.generate(native.prefill(ids), 24, Sampler(**{**WARM.to_dict(), "logit_bias": {}, "seed": 6}))
    )


# --- branches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 5, 19])
def test_a_fork_predicts_like_a_fresh_prefill(native: Driver, keep: int) -> None:
    ids = prompt(native)
    parent = native.prefill(ids)
    ours = [*ids[:keep], 300, 301, 302]
    fork = native.engine.branch(parent, keep)
    native.prefill(ours[keep:], branch=fork)
    forked = native.records
    fresh = native.prefill(ours)
    assert_same(forked, native.records[keep:], nats=EXACT_NATS)
    for branch in (fork, fresh):
        native.engine.append(branch, [303])
    left, right = (native.engine.logits(branch, keep + 4, cancel=Switch()) for branch in (fork, fresh))
    assert np.abs(left - right).max() < 1e-3
    again = native.engine.logits(parent, len(ids), cancel=Switch())
    assert np.abs(again - native.engine.logits(native.prefill(ids), len(ids), cancel=Switch())).max() < 1e-3


def test_more_branches_than_fit_are_all_still_right(open_model: Open) -> None:
    driver = open_model(n_ctx=256)
    beginnings = [[*prompt(driver)[:18], 270 + i, 290 + i] for i in range(30)]
    expected = [tokens(driver.generate(driver.prefill(ids), 6, WARM)) for ids in beginnings]
    branches = [driver.prefill(ids) for ids in beginnings]  # 600 tokens, room for 256
    made: list[list[int]] = [[] for _ in beginnings]
    for _ in range(6):
        for branch, mine in zip(branches, made, strict=True):
            mine += tokens(driver.generate(branch, 1, WARM))
    assert made == expected


def test_more_branches_than_llama_cpp_has_sequences(open_model: Open) -> None:
    driver = open_model(n_ctx=2048)
    ids = prompt(driver)
    parent = driver.prefill(ids)
    expected = driver.engine.logits(parent, len(ids), cancel=Switch())
    branches = [driver.engine.branch(parent, len(ids) - 1) for _ in range(N_SEQ_MAX + 40)]
    for branch in branches:
        driver.engine.append(branch, ids[-1:])
    for branch in (branches[0], branches[N_SEQ_MAX // 2], branches[-1], parent):
        assert np.abs(driver.engine.logits(branch, len(ids), cancel=Switch()) - expected).max() < 1e-3
    for branch in branches:
        driver.engine.drop(branch)
    assert np.abs(driver.engine.logits(parent, len(ids), cancel=Switch()) - expected).max() < 1e-3


def test_a_full_context_ends_a_run_and_nothing_else(open_model: Open) -> None:
    driver = open_model(n_ctx=256)
    ids = prompt(driver)
    branch = driver.prefill(ids)
    records = driver.generate(branch, 1_000, WARM)
    assert driver.finish == "context"
    assert len(ids) + len(records) == driver.engine.n_ctx == 256
    assert driver.generate(branch, 1, WARM) == []
    assert driver.finish == "context"
    with pytest.raises(ContextFullError, match=r"257 tokens do not fit into a context of 256; .*n_ctx"):
        driver.engine.append(branch, [5])
    with pytest.raises(ContextFullError, match="300 tokens"):
        driver.prefill([5] * 300)
    again = driver.prefill(ids)
    assert tokens(driver.generate(again, 20, WARM)) == tokens(records[:20])


def test_asking_for_what_is_not_there_is_an_error_and_harmless(native: Driver) -> None:
    empty = native.engine.branch(None, 0)
    with pytest.raises(InfernoError, match="without a token"):
        native.generate(empty, 1)
    branch = native.prefill([1, 300])
    for at in (0, 3, -1):
        with pytest.raises(InfernoError, match=f"nothing predicts position {at}"):
            native.engine.logits(branch, at, cancel=Switch())
    for wrong in (512, -1, 2**31 - 1):
        with pytest.raises(InfernoError, match="outside the vocabulary of 512"):
            native.prefill([wrong])
        with pytest.raises(InfernoError, match="outside the vocabulary of 512"):
            native.engine.pieces([wrong])
        with pytest.raises(InfernoError, match="outside the vocabulary of 512"):
            native.engine.append(branch, [wrong])
    assert len(native.generate(branch, 3, WARM)) == 3


# --- ends -------------------------------------------------------------------------------------------------


def generated_text(driver: Driver, branch: int, n: int) -> list[bytes]:
    return driver.engine.pieces(tokens(driver.generate(branch, n)))


def test_stop_strings_within_and_across_tokens(demo: Driver) -> None:
    ids = prompt(demo, "Once upon a time there was")
    pieces = generated_text(demo, demo.prefill(ids), 30)
    text = b"".join(pieces)
    within = pieces[4].decode()
    across = b"".join(pieces[6:10])[1:-1].decode()
    for stop in (within, across):
        demo.generate(demo.prefill(ids), 30, stop=("never to be seen", stop))
        made = b"".join(demo.engine.pieces(tokens(demo.records)))
        assert demo.finish == "stop"
        assert text.startswith(made)
        assert stop.encode() in made
        assert stop.encode() not in b"".join(demo.engine.pieces(tokens(demo.records[:-1])))


def test_a_stop_string_may_begin_in_an_earlier_run(demo: Driver) -> None:
    ids = prompt(demo, "Once upon a time there was")
    pieces = generated_text(demo, demo.prefill(ids), 12)
    stop = (b"".join(pieces[4:8])[1:].decode(),)
    branch, begun, ends = demo.prefill(ids), b"", []
    for _ in pieces:
        demo.generate(branch, 1, stop=stop, begun=begun)
        begun += demo.engine.pieces(tokens(demo.records))[0]
        ends.append(demo.finish)
    assert ends.index("stop") == 7
    assert ends[8] != "stop"


def test_the_prompt_does_not_count_for_stop_strings(demo: Driver) -> None:
    branch = demo.prefill(prompt(demo, "The end of the story"))
    demo.generate(branch, 5, stop=("The end of the story",))
    assert demo.finish == "length"


def test_an_end_of_generation_token_ends_a_run_and_is_recorded(native: Driver) -> None:
    branch = native.prefill(prompt(native))
    records = native.generate(branch, 10, Sampler(temperature=0, logit_bias={2: 1e3}))
    assert (tokens(records), native.finish) == ([2], "eog")


def test_max_tokens(native: Driver) -> None:
    branch = native.prefill(prompt(native))
    for n in (0, 1, 7):
        assert len(native.generate(branch, n, WARM)) == n
        assert native.finish == "length"


# --- cancelling -------------------------------------------------------------------------------------------


def test_cancel_before_anything(native: Driver) -> None:
    cancel = Switch()
    cancel.set()
    ids = prompt(native)
    branch = native.prefill(ids, cancel=cancel)
    assert (native.records, native.finish) == ([], "cancelled")
    native.prefill(ids, branch=branch)
    assert native.generate(branch, 5, cancel=cancel) == []
    assert native.finish == "cancelled"
    assert tokens(native.generate(branch, 5, WARM)) == tokens(native.generate(native.prefill(ids), 5, WARM))


def test_cancel_during_prefill_keeps_what_was_scored(native: Driver) -> None:
    ids = (prompt(native) * 40)[:900]
    branch, cancel = native.engine.branch(None, 0), Switch()
    steps = native.engine.prefill(
        branch, ids, k=20, cancel=cancel, progress=lambda f: cancel.set() if f > 0.3 else None
    )
    begun, finish = drain(steps)
    assert finish == "cancelled"
    assert 0 < len(begun) < len(ids)
    assert tokens(begun) == ids[: len(begun)]
    native.prefill(ids[len(begun) :], branch=branch)
    together = begun + native.records
    native.prefill(ids)
    assert_same(native.records, together, nats=EXACT_NATS)


def test_cancel_between_batches_leaves_the_branch_as_it_was(open_model: Open) -> None:
    driver = open_model(n_ctx=2048, n_batch=512)
    ids = (prompt(driver) * 100)[:1500]
    branch, cancel = driver.prefill(ids[:10]), Switch()
    expected = tokens(driver.generate(driver.engine.branch(branch, 10), 5, WARM))
    driver.engine.append(branch, ids[10:])
    # The first batch's progress sets the flag; `test_client` sets one inside a batch.
    steps = driver.engine.generate(branch, Request(WARM, 1), cancel=cancel, progress=lambda f: f and cancel.set())
    assert drain(steps) == ([], "cancelled")
    back = driver.engine.branch(branch, 10)
    assert tokens(driver.generate(back, 5, WARM)) == expected
    assert len(driver.generate(branch, 2, WARM)) == 2


def test_records_are_the_branchs_tokens_after_cancelling(either: Driver) -> None:
    ids = prompt(either)
    branch, cancel = either.prefill(ids), Switch()
    steps = either.steps(branch, 200, WARM, cancel=cancel)
    begun = [next(steps) for _ in range(20)]
    cancel.set()
    rest, finish = drain(steps)
    assert finish == "cancelled"
    made = begun + rest
    after = either.generate(branch, 1, WARM)[0]
    assert after.position == len(ids) + len(made)
    fresh = either.prefill(ids + tokens(made))
    assert_same([after], either.generate(fresh, 1, WARM), nats=EXACT_NATS)


def test_cancel_of_loading(models: Models) -> None:
    cancel, seen = Switch(), []

    def stop_early(fraction: float) -> None:
        seen.append(fraction)
        cancel.set()

    with pytest.raises(Cancelled):
        LlamaEngine(str(models["demo"][0]), EXACT, cancel=cancel, progress=stop_early)
    assert len(seen) == 1


# --- the rest ---------------------------------------------------------------------------------------------


def test_processor_sees_ids_and_row_and_decides(either: Driver) -> None:
    ids = prompt(either)
    branch, seen = either.prefill(ids), []

    def only_300(now: np.ndarray, logits: np.ndarray) -> np.ndarray:
        seen.append((now.tolist(), logits.copy()))
        logits[:] = -np.inf
        logits[300] = 0
        return logits

    records = either.generate(branch, 3, WARM, processor=only_300)
    assert tokens(records) == [300] * 3
    assert [now for now, _ in seen] == [ids, [*ids, 300], [*ids, 300, 300]]
    for record, (_, row) in zip(records, seen, strict=True):
        assert abs(record.logprob - describe(row, 300, 1).logprob) < 1e-5  # raw, not what the processor made of it
        assert (record.kept, record.sampled_prob) == (either.engine.n_vocab, 1.0)


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_distribution_is_refused(native: Driver, fill: float) -> None:
    branch = native.prefill(prompt(native))
    before = tokens(native.generate(native.engine.branch(branch, 19), 3, WARM))
    with pytest.raises(InfernoError, match=r"logits for position .* are broken: the largest logit is"):
        native.generate(branch, 3, WARM, processor=lambda _, row: np.full_like(row, fill))
    assert tokens(native.generate(native.engine.branch(branch, 19), 3, WARM)) == before


def test_a_broken_file_is_refused_with_llama_cpps_reason(models: Models, tmp_path: Path) -> None:
    data = models["tiny"][0].read_bytes()
    cases = {
        "cut.gguf": (data[: len(data) // 2], "data"),
        "strange.gguf": (data.replace(b"llama", b"lumma"), "unknown model architecture: 'lumma'"),
        "text.gguf": (b"once upon a time", "magic"),
    }
    for name, (content, reason) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelLoadError, match=reason) as caught:
            LlamaEngine(str(path), EXACT, cancel=Switch(), progress=ignore)
        assert str(path) in str(caught.value)


def test_a_path_need_not_be_ascii(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "märchen 火.gguf"
    path.write_bytes(models["tiny"][0].read_bytes())
    LlamaEngine(str(path), EXACT, cancel=Switch(), progress=ignore).close()


@pytest.mark.parametrize("text", ["", " ", "once upon", "été\n\tüber", "火🔥👩‍👩‍👧", "</s> <s>", "a\0b", "x" * 5000])
def test_text_comes_back_from_its_tokens(native: Driver, text: str) -> None:
    ids = native.engine.tokenize(text, special=False)
    assert b"".join(native.engine.pieces(ids)).removeprefix(b" ").decode() == text.removeprefix(" ")


def test_special_tokens_only_on_request(native: Driver) -> None:
    assert native.engine.tokenize("</s>", special=True)[0] == 1
    assert 2 in native.engine.tokenize("</s>", special=True)
    assert 2 not in native.engine.tokenize("</s>", special=False)
    assert native.engine.pieces([2]) == [b"</s>"]
