"""What a holder and its executors share about where miners are."""

import os

import pytest

from horde_agents.agents.executor.address_book import AddressBook
from horde_agents.protocol.miner_address import MinerAddress

A, B, C = (f"127.0.0.1:{port}/{'0' * 64}" for port in (1, 2, 3))


def test_address_that_an_executor_was_sent_to_is_known_to_the_next() -> None:
    book = AddressBook([A])
    child = os.fork()
    if child == 0:
        book.go_to(B, 7)
        os._exit(0)
    os.waitpid(child, 0)
    assert book.addresses() == [B, A]
    assert book.epoch == 7


def test_miner_that_does_not_answer_is_asked_last() -> None:
    book = AddressBook([A, B, C])
    book.pass_over()
    assert book.addresses() == [B, C, A]


def test_word_on_who_is_there_keeps_the_present_miner_first() -> None:
    book = AddressBook([A, B])
    book.learn([C, B, A])
    assert book.addresses() == [A, C, B]
    book.learn([])
    assert book.addresses() == [A, C, B]


def test_longest_book_fits_its_page() -> None:
    longest = [f"{'h' * 253}:{port}/{'0' * 64}" for port in range(10_000, 11_000)]
    assert [str(MinerAddress.read(text)) for text in longest] == longest
    book = AddressBook(longest)
    book.go_to(longest[-1], 10**15)
    assert len(book.addresses()) == 256


def test_host_longer_than_any_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="is no host:port"):
        MinerAddress.read(f"{'h' * 254}:1/{'0' * 64}")
