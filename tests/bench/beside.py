"""Work in a process of its own, asked over a pipe: what is measured shares no interpreter with its load."""

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from horde_agents.runtime.logs import set_up_logs

_END_S: Final = 30.0

#: Runs in the other process: what it receives and sends goes over the pipe.
Work = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Beside:
    """The other process."""

    pipe: Connection
    pid: int

    def ask(self, question: Any = None, limit_s: float = 120.0) -> Any:
        """Send ``question`` and wait for the answer."""
        self.pipe.send(question)
        return self.answer(limit_s)

    def answer(self, limit_s: float = 120.0) -> Any:
        """What it says next."""
        if not self.pipe.poll(limit_s):
            raise TimeoutError(f"the process beside says nothing for {limit_s:.0f} s")
        return self.pipe.recv()


@contextmanager
def beside(work: Work, *given: Any) -> Iterator[Beside]:
    """Run ``work(pipe, *given)`` until the block ends; ``None`` over the pipe tells it to end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(work, theirs, *given))
    process.start()
    theirs.close()
    try:
        assert process.pid is not None
        yield Beside(ours, process.pid)
    finally:
        if process.is_alive():
            ours.send(None)
        process.join(_END_S)
        if process.is_alive():
            process.kill()
            process.join()


async def heard(pipe: Connection) -> Any:
    """The next word of the process that asks; ``None`` when it is gone."""
    try:
        return await asyncio.to_thread(pipe.recv)
    except EOFError:
        return None


def _run(work: Work, pipe: Connection, *given: Any) -> None:
    set_up_logs("bench", "error")
    asyncio.run(work(pipe, *given))
