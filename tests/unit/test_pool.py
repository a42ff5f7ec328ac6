"""The pool's books, kept against a cache whose cells can be looked at."""

from __future__ import annotations

import random
from itertools import count

import pytest

from inferno_widget.engine import Branch, Holdings
from inferno_widget.engine.pool import Entry, Pool
from inferno_widget.window import Window


class Cells:
    """A cache that knows which cells each sequence has; cells are numbered as they come."""

    def __init__(self) -> None:
        self.of: dict[int, list[int]] = {}
        self.new = count()

    def copy(self, source: int, target: int, n: int) -> None:
        assert not self.of.get(target)
        assert len(self.of[source]) >= n
        self.of[target] = self.of[source][:n]

    def cut(self, seq: int, start: int) -> None:
        self.of[seq] = self.of.get(seq, [])[:start]

    def holds(self, seq: int, n: int) -> bool:
        return True


class Bench:
    """A pool, and what decoding does to it."""

    def __init__(self, n_seq: int = 8) -> None:
        self.cells = Cells()
        self.pool = Pool(self.cells, n_seq)

    def decode(self, entry: Entry) -> None:
        """Bring a branch into the cache as far as its tokens go."""
        if entry.seq is not None and entry.decoded == len(entry.tokens):
            self.pool.shorten(entry, entry.decoded - 1)
        seq = entry.seq if entry.seq is not None else self.pool.enter(entry)
        n = len(entry.tokens) - entry.decoded
        self.cells.of.setdefault(seq, []).extend(next(self.cells.new) for _ in range(n))
        self.pool.grown(entry, n)

    def add(self, *tokens: int, parent: Branch | None = None, keep: int = 0) -> Branch:
        branch = self.pool.branch(parent, keep)
        self.pool[branch].tokens += tokens
        self.decode(self.pool[branch])
        return branch

    def holdings(self) -> Holdings:
        return Holdings(100, 1000, self.pool.held())

    def real(self, branches: list[Branch]) -> int:
        held = [self.cells.of[self.pool[branch].seq] for branch in branches if self.pool[branch].seq is not None]
        return len(set().union(*held))


def test_what_branches_share_counts_once() -> None:
    bench = Bench()
    trunk = bench.add(*range(10))
    left = bench.add(1, 2, parent=trunk, keep=6)
    right = bench.add(3, parent=left, keep=7)
    held = bench.holdings()
    assert [held.cells([branch]) for branch in (trunk, left, right)] == [10, 8, 8]
    assert held.cells([left, right]) == 9
    assert held.cells() == 13
    assert held.used == 130
    bench.pool.drop(trunk)
    assert bench.holdings().cells() == 9
    assert bench.holdings().cells([trunk]) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_books_are_right_whatever_happens(seed: int) -> None:
    dice, bench = random.Random(seed), Bench()
    branches = [bench.add(*range(5))]
    for _ in range(300):
        branch = dice.choice(branches)
        entry = bench.pool[branch]
        what = dice.randrange(6)
        if what == 0:
            branches.append(bench.add(dice.randrange(3), parent=branch, keep=dice.randint(0, len(entry.tokens))))
        elif what == 1 and len(branches) > 1:
            branches.remove(branch)
            bench.pool.drop(branch)
        elif what == 2:
            bench.pool.give_way(besides=entry)
        else:
            entry.tokens += [dice.randrange(3) for _ in range(dice.randrange(3))]
            bench.decode(entry)
        held = bench.holdings()
        assert held.cells() == bench.real(branches)
        some = dice.sample(branches, dice.randint(0, len(branches)))
        assert held.cells(some) == bench.real(some)
        for branch, entry in ((branch, bench.pool[branch]) for branch in branches):
            assert held.cells([branch]) == entry.decoded <= len(entry.tokens)


def test_the_least_recently_used_gives_way_first() -> None:
    bench = Bench()
    first, second, third = (bench.add(*range(10 * i, 10 * i + 5)) for i in (1, 2, 3))
    bench.pool.use(first)
    for expected in (second, third):
        assert bench.pool.give_way(besides=bench.pool[first])
        assert bench.pool[expected].seq is None
    assert not bench.pool.give_way(besides=bench.pool[first])
    assert bench.pool[first].decoded == 5


def test_a_branch_that_comes_back_takes_over_what_another_has_of_it() -> None:
    bench = Bench()
    trunk = bench.add(*range(10))
    fork = bench.add(77, parent=trunk, keep=8)
    bench.pool.give_way(besides=bench.pool[fork])
    assert bench.holdings().cells() == 9
    bench.decode(bench.pool[trunk])
    assert bench.holdings().cells([trunk]) == 10
    assert bench.holdings().cells() == 11, "eight cells are shared again"


def test_more_branches_than_sequences() -> None:
    bench = Bench(n_seq=3)
    branches = [bench.add(*range(10 * i, 10 * i + 5)) for i in range(1, 9)]
    assert bench.holdings().branches.keys() == set(branches[-3:])
    child = bench.add(1, parent=branches[-3], keep=5)
    assert bench.holdings().branches.keys() == {branches[-3], branches[-1], child}, "a parent gives way after others"


def test_cells_that_were_given_away_are_not_shared() -> None:
    """Layers that look at the latest tokens alone keep no more than that, once the cache has been full."""
    bench = Bench()
    old = bench.add(*range(10))
    bench.cells.holds = lambda seq, n: n >= 8
    near, far = (bench.pool[bench.pool.branch(old, keep)] for keep in (8, 7))
    assert (near.decoded, far.decoded) == (8, 0)
    assert (near.tokens, far.tokens) == (list(range(8)), list(range(7)))
    bench.decode(far)
    assert far.decoded == 7
    assert bench.real([old]) == 10
    bench.decode(near)
    assert near.decoded == 8, "its last token is decoded anew, and with it all that cannot be had"
    assert not {*bench.cells.of[near.seq]} & {*bench.cells.of[bench.pool[old].seq]}


@pytest.mark.parametrize(
    ("window", "other", "shared"),
    [
        (Window(), Window(), 5),
        (Window(2, 40), Window(2, 40), 5),
        (Window(2, 40), Window(), 2),
        (Window(), Window(2, 40), 2),
        (Window(3, 40), Window(2, 50), 2),
    ],
)
def test_cells_of_other_tokens_of_the_text_are_not_shared(window: Window, other: Window, shared: int) -> None:
    """Alike as they are: what interventions did at some positions is in them."""
    bench = Bench()
    first = bench.add(1, 2, 3, 4, 5, 6)
    bench.pool[first].window = window
    entry = bench.pool[bench.pool.branch(None, 0)]
    entry.tokens, entry.window = [1, 2, 3, 4, 5, 6], other
    bench.pool.enter(entry)
    assert entry.decoded == shared
    assert bench.pool[bench.pool.branch(first, 3)].window == window
