"""Keeps one slot: a process without an event loop that has all imported and forks an executor a job."""

import asyncio
import contextlib
import ctypes
import gc
import math
import os
import signal
import sys
import time
from random import Random
from typing import Final

from horde_agents.agents.executor.address_book import AddressBook
from horde_agents.agents.executor.app import STOP_NOW, serve_one_job
from horde_agents.agents.executor.link import MinerRefused, MinersGone
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.clients.docker_faults import EngineFault
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.logs import get_logger

_PR_SET_PDEATHSIG: Final = 1
#: The signals that end a holder.
_ENDINGS: Final = (signal.SIGTERM, STOP_NOW)
_FAILED: Final = 1
#: An executor's exit code when the next one has to look whether the slot is free.
_PERHAPS_NOT_FREE: Final = 3
#: The same when there is no miner to serve: the holder ends, so that one follows that knows where they are.
_NOBODY_THERE: Final = 4
#: Seconds an executor gets on top of the drain time to clean up and have its report acknowledged.
_CLEANING_S: Final = 90.0
#: Seconds on top of the spin-up time that a holder which was made for one attempt waits for it.
_SPARE_S: Final = 10.0
_POLL_S: Final = 0.02
_log = get_logger(__name__)


class _Stopping(BaseException):
    """SIGTERM came, or the signal to end at once: ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def hold_slot(settings: ExecutorSettings) -> int:
    """Fork executors one after another until a signal or the holder's time to be recycled.

    Returns its exit code when the last executor has ended. A holder that is meant for one attempt forks one.
    """
    if settings.die_with_parent:
        end_with_parent(STOP_NOW)  # nobody is left to hear of a job, and the slot's next holder may be coming
        if settings.parent_pid and os.getppid() != settings.parent_pid:
            _log.warning("whoever started this holder is gone", slot=settings.slot_id)
            return _FAILED
    gc.collect()
    gc.freeze()  # keeps the parent's objects out of the children's collections, so pages stay shared
    for ending in _ENDINGS:
        signal.signal(ending, _told)
    book, begun_s, jobs = AddressBook(settings.miners), time.monotonic(), 0
    child: int | None = None
    slot_is_free = False
    delays = delays_s(0.2, 30.0, Random())  # noqa: S311  (spreads restarts)
    try:
        while (life := _left(settings, begun_s, jobs)) is not None:
            child = _fork(settings, book, life, slot_is_free=slot_is_free)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)  # from here on the child is known
            status = _reaped(child)
            child = None
            slot_is_free = status == 0
            if status == _NOBODY_THERE:
                return 0
            if status in (0, _PERHAPS_NOT_FREE):
                jobs += 1
                delays = delays_s(0.2, 30.0, Random())  # noqa: S311
            else:
                _log.warning("executor ended badly", status=status, slot=settings.slot_id)
                if settings.meant_for:
                    return _FAILED  # Nomad, and through it the miner, hears of it at once
                time.sleep(next(delays))
    except _Stopping as stopping:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(STOP_NOW, signal.SIG_DFL)  # ends the holder, of which the kernel tells the child
        if child is not None:
            _end(child, stopping.number, settings)
    return 0


def end_with_parent(number: signal.Signals) -> None:
    """Ask the kernel to send ``number`` to this process when its parent is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def _told(number: int, _frame: object) -> None:
    raise _Stopping(number)


def _left(settings: ExecutorSettings, begun_s: float, jobs: int) -> float | None:
    """Seconds for which an executor may still wait for a job; ``None`` when the holder is to be recycled."""
    if settings.meant_for:
        return None if jobs else settings.spin_up_s + _SPARE_S
    if settings.recycle_jobs and jobs >= settings.recycle_jobs:
        return None
    left_s = begun_s + settings.recycle_s - time.monotonic() if settings.recycle_s else math.inf
    return left_s if left_s > 0 else None


def _fork(settings: ExecutorSettings, book: AddressBook, idle_s: float, *, slot_is_free: bool) -> int:
    """The new executor; the caller lets the signals through again.

    What a signal raises within a fork is lost: Python ignores what is raised in the hooks that it runs there.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    child = os.fork()
    if child:
        return child
    for ending in _ENDINGS:
        signal.signal(ending, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
    os.umask(0o022)  # jobs of any user read what is put in place for them
    end_with_parent(STOP_NOW)
    if os.getppid() != parent:  # it went between fork and prctl
        os._exit(_FAILED)
    os._exit(_live(settings, book, idle_s, slot_is_free=slot_is_free))


def _live(settings: ExecutorSettings, book: AddressBook, idle_s: float, *, slot_is_free: bool) -> int:
    """Run the executor; threads that hang in a library must not keep the process."""
    loop = asyncio.new_event_loop()
    try:
        left_free = loop.run_until_complete(serve_one_job(settings, book, idle_s, slot_is_free=slot_is_free))
    except MinerRefused as refused:
        _log.info("not wanted any more", slot=settings.slot_id, why=str(refused))
    except MinersGone as gone:
        _log.warning("nobody to serve", slot=settings.slot_id, why=str(gone))
        return _NOBODY_THERE
    except EngineFault as error:
        _log.error("no executor without its container engine", slot=settings.slot_id, why=str(error))
        return _FAILED
    except Exception:  # noqa: BLE001  (outermost frame of the process: log and end)
        _log.exception("executor crashed", slot=settings.slot_id)
        return _FAILED
    else:
        return 0 if left_free else _PERHAPS_NOT_FREE
    finally:
        sys.stderr.flush()
    return 0


def _reaped(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _end(child: int, number: int, settings: ExecutorSettings) -> None:
    """Hand the signal on and wait; SIGTERM lets a running job finish within the drain time.

    The child keeps to that by itself; if it hangs it is killed, and its container is ended by the
    next executor of the slot.
    """
    deadline_s = time.monotonic() + settings.drain_s + _CLEANING_S
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, number)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline_s:
                _log.error("executor hangs, killing it", slot=settings.slot_id)
                os.kill(child, signal.SIGKILL)
                _reaped(child)
                break
            time.sleep(_POLL_S)
    _log.info("slot given up", slot=settings.slot_id)
