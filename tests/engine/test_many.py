"""Several branches in one batch: each is what it would be alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget.engine import Branch, Options, Request
from inferno_widget.engine.context import N_SEQ_MAX, packed
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.stop import Stop
from inferno_widget.errors import ContextFullError, InfernoError
from inferno_widget.record import StepRecord, watched_of
from inferno_widget.sampling import Sampler, draw, softmax
from tests.engine.conftest import EXACT
from tests.engine.tools import GELU_NATS, GREEDY, NATS, Driver, Switch, assert_same, drain, ignore, tokens

TEXT = "once upon a time there was a king who had three sons and the dragon in the forest said to her"
OTHER = {"gemma2": {"nats": GELU_NATS}, "gemma3": {"nats": GELU_NATS}, "gpt2": {"nats": GELU_NATS, "eos": 511}}
Models = dict[str, tuple[Path, int]]
Open = Callable[..., Driver]


def warm(seed: int = 5) -> Sampler:
    return Sampler(temperature=1.2, top_k=0, top_p=1.0, min_p=0.0, seed=seed)


@pytest.fixture(params=["tiny", "gemma2", "gpt2"])
def open_model(request: pytest.FixtureRequest, models: Models) -> Iterator[Open]:
    opened: list[LlamaEngine] = []

    def open_(name: str = request.param, **options: object) -> Driver:
        chosen = Options(**{**EXACT.__dict__, **options})
        opened.append(LlamaEngine(str(models[name][0]), chosen, cancel=Switch(), progress=ignore))
        return Driver(opened[-1], Switch, **OTHER.get(name, {}))

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture(scope="module", params=["native", "client", "gemma2", "gemma3", "gpt2"])
def either(request: pytest.FixtureRequest, models: Models) -> Iterator[Driver]:
    """The engine in this process, and the one in a child; and other shapes of model."""
    if request.param in ("native", "client"):
        yield request.getfixturevalue(request.param)
        return
    engine = LlamaEngine(str(models[request.param][0]), EXACT, cancel=Switch(), progress=ignore)
    yield Driver(engine, Switch, **OTHER[request.param])
    engine.close()


def prompt(driver: Driver, text: str = TEXT) -> list[int]:
    return driver.engine.tokenize(text, special=True)


def forks(driver: Driver, parent: Branch, keep: int, firsts: list[int]) -> list[Branch]:
    """Branches with the first `keep` tokens of `parent` and one of their own."""
    branches = [driver.engine.branch(parent, keep) for _ in firsts]
    for branch, token in zip(branches, firsts, strict=True):
        driver.engine.append(branch, [token])
    return branches


def generate(
    driver: Driver, branches: list[Branch], requests: list[Request], **options: object
) -> tuple[list[list[StepRecord]], list[str]]:
    options = {"cancel": driver.make_flag(), "progress": ignore, **options}
    return collect(driver.engine.generate_many(branches, requests, **options), len(branches))


def score(driver: Driver, branches: list[Branch], ids: list[list[int]], **options: object) -> list[list[StepRecord]]:
    options = {"k": 20, "cancel": driver.make_flag(), "progress": ignore, **options}
    made, driver.finish = collect(driver.engine.prefill_many(branches, ids, **options), len(branches))
    return made


def collect(steps: object, n: int) -> tuple[list[list[StepRecord]], list[str]]:
    made: list[list[StepRecord]] = [[] for _ in range(n)]
    pairs, finish = drain(steps)
    for i, record in pairs:
        made[i].append(record)
    return made, finish


# --- generating -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [GREEDY, warm()])
def test_branches_generate_what_each_would_alone(either: Driver, sampler: Sampler) -> None:
    parent = either.prefill(prompt(either))
    firsts = [300, 301, 302, 303, 304]
    together, finish = generate(either, forks(either, parent, 12, firsts), [Request(sampler, 9)] * 5)
    assert finish == ["length"] * 5
    for alone, mine in zip(forks(either, parent, 12, firsts), together, strict=True):
        assert [record.position for record in mine] == list(range(13, 22))
        assert_same(either.generate(alone, 9, sampler), mine, nats=either.nats)


def test_each_branch_has_its_own_dice_and_length(either: Driver) -> None:
    parent = either.prefill(prompt(either))
    requests = [Request(warm(seed), 2 * seed, k=seed) for seed in range(1, 6)]
    branches = [either.engine.branch(parent, 20) for _ in requests]
    made, _ = generate(either, branches, requests)
    for request, mine in zip(requests, made, strict=True):
        assert len(mine) == request.n
        assert {len(record.top_ids) for record in mine} == {request.k}
        assert [record.draw for record in mine] == [draw(request.sampler.seed, 20 + i) for i in range(request.n)]


def test_a_large_vocabulary_is_described_as_exactly(open_model: Open) -> None:
    driver = open_model("large")
    parent = driver.prefill(prompt(driver))
    n = len(prompt(driver))
    branches = forks(driver, parent, n - 1, [300, 301, 302])
    made, _ = generate(driver, branches, [Request(warm(), 6, watch=((5, 7),))] * 3)
    for branch, mine in zip(branches, made, strict=True):
        for record in mine:
            chances = softmax(driver.engine.logits(branch, record.position, cancel=Switch()))
            assert abs(np.exp(record.logprob) - chances[record.token_id]) < NATS
            assert abs(watched_of(record)[0] - chances[[5, 7]].sum()) < NATS


def test_more_branches_than_are_decoded_at_once(open_model: Open) -> None:
    driver = open_model(n_ctx=4096)
    ids = prompt(driver)
    parent = driver.prefill(ids)
    branches = [driver.engine.branch(parent, len(ids)) for _ in range(N_SEQ_MAX + 10)]
    made, _ = generate(driver, branches, [Request(warm(seed), 3) for seed in range(len(branches))])
    for seed in (0, 31, 32, 73):
        alone = driver.generate(driver.engine.branch(parent, len(ids)), 3, warm(seed))
        assert_same(alone, made[seed], nats=driver.nats)


def test_branches_that_do_not_fit_together_run_in_turn(open_model: Open) -> None:
    driver = open_model(n_ctx=256)
    beginnings = [[*prompt(driver)[:18], 270 + i] for i in range(8)]
    alone = [driver.generate(driver.prefill(ids), 60, warm()) for ids in beginnings]  # 8 x 60 cells, room for 256
    parent = driver.prefill(beginnings[0][:18])
    branches = forks(driver, parent, 18, [270 + i for i in range(8)])
    made, finish = generate(driver, branches, [Request(warm(), 60)] * 8)
    assert finish == ["length"] * 8
    for mine, theirs in zip(made, alone, strict=True):
        assert_same(theirs, mine, nats=driver.nats)


def test_a_branch_that_reaches_the_end_of_the_context_ends_alone(open_model: Open) -> None:
    driver = open_model(n_ctx=256)
    ids = (prompt(driver) * 20)[:250]
    parent = driver.prefill(ids)
    branches = [driver.engine.branch(parent, keep) for keep in (250, 200)]
    made, finish = generate(driver, branches, [Request(warm(), 20)] * 2)
    assert finish == ["context", "length"]
    assert [len(mine) for mine in made] == [6, 20]


@pytest.mark.parametrize("n_batch", [1, 3, 64])
def test_branches_that_were_evicted_come_back(open_model: Open, n_batch: int) -> None:
    driver = open_model(n_ctx=256, n_batch=n_batch)
    ids = prompt(driver)
    parent = driver.prefill(ids)
    branches = forks(driver, parent, len(ids), [300, 301, 302])
    driver.prefill((ids * 20)[:250][::-1])  # needs the room
    made, _ = generate(driver, branches, [Request(GREEDY, 4)] * 3)
    for token, mine in zip([300, 301, 302], made, strict=True):
        assert_same(driver.generate(driver.prefill([*ids, token]), 4), mine, nats=driver.nats)


def test_ends_are_each_branchs_own(either: Driver) -> None:
    parent = either.prefill(prompt(either))
    ended = Request(Sampler(temperature=0, logit_bias={either.eos: 1e3}), 10)
    piece = either.engine.pieces([310])[0].decode()
    said = Request(Sampler(temperature=0, logit_bias={310: 1e3}), 10, stop=(piece * 2,))
    branches = [either.engine.branch(parent, 20) for _ in range(4)]
    made, finish = generate(either, branches, [ended, said, Request(GREEDY, 0), Request(GREEDY, 3)])
    assert finish == ["eog", "stop", "length", "length"]
    assert [tokens(mine) for mine in made[:3]] == [[either.eos], [310, 310], []]


def test_a_processor_sees_each_branch(either: Driver) -> None:
    parent = either.prefill(prompt(either))
    branches = forks(either, parent, 12, [300, 400])

    def repeat(ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        logits[ids[12]] = 1e3
        return logits

    made, _ = generate(either, branches, [Request(GREEDY, 3)] * 2, processor=repeat)
    assert [tokens(mine) for mine in made] == [[300] * 3, [400] * 3]


def test_a_broken_processor_is_an_error_that_names_it(client: Driver) -> None:
    parent = client.prefill(prompt(client))
    with pytest.raises(InfernoError, match="logits processor failed: ZeroDivisionError") as caught:
        generate(client, [parent], [Request(GREEDY, 3)], processor=lambda ids, logits: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(client.generate(parent, 2)) == 2


def test_cancel_ends_all_and_keeps_what_came(either: Driver) -> None:
    parent = either.prefill(prompt(either))
    cancel = either.make_flag()
    branches = forks(either, parent, 12, [300, 301])
    steps = either.engine.generate_many(
        branches, [Request(warm(), 800), Request(warm(), 1)], cancel=cancel, progress=ignore
    )
    begun = [next(steps) for _ in range(9)]
    cancel.set()
    rest, finish = drain(steps)
    assert finish == ["cancelled", "length"]
    made = [record for i, record in begun + rest if i == 0]
    assert len(made) < 700
    after = either.generate(branches[0], 1, warm())[0]
    assert after.position == 13 + len(made)


def test_other_calls_are_answered_meanwhile_and_another_run_goes_on(client: Driver) -> None:
    ids = prompt(client)
    parent, other = client.prefill(ids), client.prefill(ids)
    alone = client.generate(client.prefill(ids), 30, warm(9))
    cancel, ended = Stop(), threading.Event()

    def work() -> None:
        branches = [client.engine.branch(parent, len(ids)) for _ in range(4)]
        generate(client, branches, [Request(warm(seed), 200) for seed in range(4)], cancel=cancel)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.02)
    assert_same(alone, client.generate(other, 30, warm(9)), nats=client.nats)
    assert not ended.is_set(), "the others were not under way"
    cancel.set()
    thread.join(10)
    assert ended.is_set()


@pytest.fixture(params=["gemma2", "gemma3"])
def given_away(request: pytest.FixtureRequest, models: Models) -> Iterator[tuple[Driver, Branch, list[int]]]:
    """A branch all of whose cells behind the attention window were given to another."""
    options = Options(**{**EXACT.__dict__, "n_ctx": 512})
    engine = LlamaEngine(str(models[request.param][0]), options, cancel=Switch(), progress=ignore)
    driver = Driver(engine, Switch, **OTHER[request.param])
    ids = (prompt(driver) * 20)[:190]
    first = driver.prefill([5, 6, 7])
    parent = driver.prefill(ids)
    engine.drop(first)  # from here on cells are looked for: three are free, and then come the parent's
    driver.prefill([9, *ids[:140]])
    assert not engine.cells.holds(engine.pool[parent].seq, 190), "nothing was given away, and this proves nothing"
    yield driver, parent, ids
    engine.close()


KEEPS = [190, 190, 185, 120, 70, 20]


def test_forks_behind_cells_that_were_given_away(given_away: tuple[Driver, Branch, list[int]]) -> None:
    driver, parent, ids = given_away
    branches = [driver.engine.branch(parent, keep) for keep in KEEPS]
    made, _ = generate(driver, branches, [Request(warm(seed), 5) for seed in range(6)])
    for seed, (keep, mine) in enumerate(zip(KEEPS, made, strict=True)):
        assert_same(driver.generate(driver.prefill(ids[:keep]), 5, warm(seed)), mine, nats=driver.nats)


def test_texts_go_on_from_cells_that_were_given_away(given_away: tuple[Driver, Branch, list[int]]) -> None:
    driver, parent, ids = given_away
    made = score(driver, [driver.engine.branch(parent, keep) for keep in KEEPS], [[300, 301]] * 6)
    for keep, mine in zip(KEEPS, made, strict=True):
        driver.prefill([*ids[:keep], 300, 301])
        assert_same(driver.records[keep:], mine, nats=driver.nats)


def test_rows_of_branches_whose_cells_were_given_away(given_away: tuple[Driver, Branch, list[int]]) -> None:
    """Their own rows are gone too: the last token cannot be decoded once more, but the whole text."""
    driver, parent, ids = given_away
    other = driver.prefill(ids[:100])
    driver.engine.pool[parent].row = driver.engine.pool[other].row = None
    made, _ = generate(driver, [other, parent], [Request(GREEDY, 3)] * 2)
    assert_same(driver.generate(driver.prefill(ids[:100]), 3), made[0], nats=driver.nats)
    assert_same(driver.generate(driver.prefill(ids), 3), made[1], nats=driver.nats)


# --- scoring ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_batch", [1, 7, 64])
def test_texts_score_like_each_alone(open_model: Open, n_batch: int) -> None:
    driver = open_model(n_batch=n_batch)
    ids = prompt(driver)
    texts = [ids[:5], [], ids, ids[:1], ids[3:], (ids * 3)[:50]]
    made = score(driver, [driver.engine.branch(None, 0) for _ in texts], texts)
    assert driver.finish == ["length"] * len(texts)
    for text, mine in zip(texts, made, strict=True):
        driver.prefill(text)
        assert_same(driver.records, mine, nats=driver.nats)


def test_texts_go_on_from_branches(either: Driver) -> None:
    ids = prompt(either)
    parent = either.prefill(ids)
    keeps = [3, 12, 20]
    made = score(either, [either.engine.branch(parent, keep) for keep in keeps], [[300, 301]] * 3)
    for keep, mine in zip(keeps, made, strict=True):
        either.prefill([*ids[:keep], 300, 301])
        assert_same(either.records[keep:], mine, nats=either.nats)


def test_more_text_than_the_context_holds_at_once(open_model: Open) -> None:
    driver = open_model(n_ctx=256, n_batch=64)
    ids = prompt(driver)
    texts = [(ids[i:] * 20)[:150] for i in range(6)]
    made = score(driver, [driver.engine.branch(None, 0) for _ in texts], texts)
    begun = score(driver, [driver.engine.branch(None, 0) for _ in texts], [text[:100] for text in texts])
    for text, mine, theirs in zip(texts, made, begun, strict=True):
        driver.prefill(text)
        assert_same(driver.records, mine, nats=driver.nats)
        assert_same(driver.records[:100], theirs, nats=driver.nats)
    with pytest.raises(ContextFullError, match="257 tokens"):
        score(driver, [driver.engine.branch(None, 0)], [[5] * 257])


def test_branches_that_do_not_fit_together_are_scored_in_turn(open_model: Open) -> None:
    driver = open_model(n_ctx=256, n_batch=64)
    ids = prompt(driver)
    texts = [(ids[i:] * 20)[:200] for i in range(3)]
    branches = [driver.engine.branch(None, 0) for _ in texts]
    for branch, text in zip(branches, texts, strict=True):
        driver.engine.append(branch, text[:190])
    made = score(driver, branches, [text[190:] for text in texts])  # one batch whose branches need 600 cells
    for text, mine in zip(texts, made, strict=True):
        driver.prefill(text)
        assert_same(driver.records[190:], mine, nats=driver.nats)


def test_scoring_can_be_cancelled(either: Driver) -> None:
    ids = (prompt(either) * 40)[:400]
    cancel, branches = either.make_flag(), [either.engine.branch(None, 0) for _ in range(2)]
    options = {"cancel": cancel, "progress": lambda f: cancel.set() if f > 0.3 else None}
    made = score(either, branches, [ids[:60], ids], **options)
    assert either.finish == ["length", "cancelled"]
    assert tokens(made[1]) == ids[: len(made[1])]
    assert len(made[1]) < 400


@pytest.mark.parametrize("many", [False, True])
def test_what_is_watched_is_the_whole_rows_softmax(either: Driver, many: bool) -> None:
    ids, watch = prompt(either), ((300,), (5, 6, 7), (2,))
    branch = either.engine.branch(None, 0)
    if many:
        (scored,) = score(either, [branch], [ids], watch=watch)
    else:
        scored, _ = drain(
            either.engine.prefill(branch, ids, k=5, watch=watch, cancel=either.make_flag(), progress=ignore)
        )
    made = either.generate(branch, 8, warm(), watch=watch)
    assert watched_of(scored[0]) is None, "nothing predicts the first token"
    options = {"cancel": Switch()} if isinstance(either.engine, LlamaEngine) else {}
    for record in [*scored[1:], *made]:
        row = either.engine.logits(branch, record.position, **options).astype(np.float64)
        chances = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        expected = [chances[list(ids)].sum() for ids in watch]
        np.testing.assert_allclose(watched_of(record), expected, rtol=2e-3, atol=1e-6)
    assert watched_of(either.generate(branch, 1)[0]) is None


@pytest.mark.parametrize(("size", "most"), [(1, 1), (4, 2), (7, 100), (64, 3)])
def test_packed_batches_hold_everything_in_order(size: int, most: int) -> None:
    texts = [list(range(n)) for n in (3, 0, 9, 1, 1, 1, 12)]
    batches = list(packed(texts, size, most))
    found: list[list[int]] = [[] for _ in texts]
    for batch in batches:
        assert sum(len(chunk) for _, chunk in batch) <= size
        assert 0 < len(batch) <= most
        assert all(chunk for _, chunk in batch)
        for i, chunk in batch:
            found[i] += chunk
    assert found == texts
