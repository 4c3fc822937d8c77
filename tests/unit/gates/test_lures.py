"""The books of many courses in plain numbers, held against those in logs that a gate keeps."""

import numpy as np
import pytest

from tools.gates.judging import cut, harm_prior
from tools.gates.lures import LARGEST_WORTH, Books
from tools.gates.wealth import Ledger, Prior, Wealth

COURSES = 7


def test_many_courses_are_worth_what_a_gates_books_are() -> None:
    rng, prior = np.random.default_rng(5), harm_prior(2.0)
    books, alone = Books.start(prior, COURSES), Ledger.of([(Wealth.start(prior),)] * COURSES)
    stacked, everyone = Prior.stacked([prior]), np.arange(COURSES)
    for _ in range(40):
        log_lr, minutes = rng.normal(-0.1, 0.6, (len(prior.factors), COURSES)), float(rng.uniform(0, 90))
        books.advance(everyone, log_lr, minutes)
        alone.advance(stacked, log_lr.T[:, None], np.full(COURSES, minutes))
        books.cut(everyone, 2.0)
        alone.log_started[:, 0] = cut(alone.log_started[:, 0], alone.log_reserve[:, 0], np.full(COURSES, 2.0))
        books.cap(everyone, 1.5)
        alone.cap(0, np.full(COURSES, 1.5))
        assert books.log_e(everyone) == pytest.approx(alone.log_e[:, 0], abs=1e-9)
    started, reserve = books.logs(everyone)
    assert started == pytest.approx(alone.log_started[:, 0], abs=1e-9)
    assert reserve == pytest.approx(alone.log_reserve[:, 0], abs=1e-9)
    assert books.clock == pytest.approx(alone.clock[:, 0])


def test_only_the_courses_that_are_meant_advance() -> None:
    prior = harm_prior(2.0)
    books, some, others = Books.start(prior, COURSES), np.array([1, 4]), np.array([0, 2, 3, 5, 6])
    books.advance(some, np.ones((len(prior.factors), 2)), 3.0)
    assert (books.log_e(some) > 0.5).all()
    assert books.log_e(others) == pytest.approx(np.zeros(5), abs=1e-12)
    assert books.clock.tolist() == [0, 3, 0, 0, 3, 0, 0]


def test_what_is_worth_more_than_anybody_asks_for_stays_a_number() -> None:
    prior, first = harm_prior(2.0), np.array([0])
    books = Books.start(prior, 1)
    for _ in range(5):
        books.advance(first, np.full((len(prior.factors), 1), 2000.0), 1.0)
    assert np.log(LARGEST_WORTH) <= books.log_e(first)[0] < np.inf
