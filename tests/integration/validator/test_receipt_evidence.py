"""``horde receipts export`` and ``verify``, from a validator's database to a file and back."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from horde_agents.agents.validator.receipt_retention import Retention
from horde_agents.cli.app import app
from horde_agents.cli.receipts import EvidenceMissing
from horde_agents.protocol.signing import to_hex
from horde_agents.receipts.evidence import BundleWrong
from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import Statement, signed_text
from horde_agents.runtime.clock import now
from horde_agents.store import page_cursors, progress, receipts
from horde_agents.store.engine import open_store
from horde_agents.store.tables import page_cursors as cursors
from horde_agents.store.tables import progress_receipts
from horde_agents.store.tables import receipts as receipt_rows
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.receipt_lines import finished, started
from tests.fixtures.receipt_lines import progress as progress_of

_DAYS = 86_400


def prepared(folder: Path) -> tuple[Path, list[Receipt], ProgressReceipt]:
    """A configuration, and receipts of one job with both signatures."""
    path, validator = hotkey_file(folder, "validator")
    _, miner = hotkey_file(folder, "miner")
    config = folder / "validator.toml"
    database = f"sqlite:///{folder}/validator.sqlite3"
    config.write_text(f'hotkey_file = "{path}"\ndatabase_url = "{database}"\n')

    def signed(payload: Statement) -> tuple[str, str]:
        text = signed_text(payload)
        return to_hex(validator.sign(text)), to_hex(miner.sign(text))

    job = started(miner, validator)
    proof = progress_of(job)
    return (
        config,
        [Receipt(each, *signed(each)) for each in (job, finished(job))],
        ProgressReceipt(proof, *signed(proof)),
    )


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A database with three countersigned receipts and one that its miner has not signed."""
    path, signed, proof = prepared(tmp_path)
    async with open_store(f"sqlite:///{tmp_path}/validator.sqlite3") as store:
        at = now()
        await store.writer.run(lambda c: receipts.import_all(c, signed, at))
        await store.writer.run(lambda c: progress.import_all(c, [proof], at))
        alone = Receipt(started(hotkey_file(tmp_path, "m2")[1], hotkey_file(tmp_path, "validator")[1]), "0x1")
        await store.writer.run(lambda c: receipts.file(c, alone, at))
    return path


def test_what_is_exported_verifies_offline(config: Path) -> None:
    file = config.parent / "evidence.jsonl"
    done = CliRunner().invoke(app, ["receipts", "export", "--config", str(config), str(file)])
    assert done.exit_code == 0, done.output
    assert "3 receipts" in done.output
    (config.parent / "validator.sqlite3").unlink()  # nothing but the file is needed
    checked = CliRunner().invoke(app, ["receipts", "verify", str(file)])
    assert checked.exit_code == 0, checked.output
    assert "3 receipts hold, 0 do not" in checked.output
    assert checked.output.count("holds  Job") == 3


def test_a_changed_line_is_named_and_the_exit_code_says_so(config: Path) -> None:
    file = config.parent / "evidence.jsonl"
    CliRunner().invoke(app, ["receipts", "export", "--config", str(config), str(file)])
    lines = file.read_text().splitlines()
    value = json.loads(lines[2])
    value["text"] = value["text"].replace("1.000000", "9.000000")
    file.write_text("\n".join([*lines[:2], json.dumps(value), *lines[3:]]) + "\n")
    checked = CliRunner().invoke(app, ["receipts", "verify", "--quiet", str(file)])
    assert checked.exit_code == 1
    assert "line 3: WRONG  JobFinishedReceipt" in checked.output
    assert "2 receipts hold, 1 do not" in checked.output


def test_a_cycle_without_attempts_has_no_evidence(config: Path) -> None:
    arguments = ["receipts", "export", "--config", str(config), "--cycle", "7", str(config.parent / "x")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, EvidenceMissing)


def test_an_existing_file_is_not_overwritten(config: Path) -> None:
    done = CliRunner().invoke(app, ["receipts", "export", "--config", str(config), str(config)])
    assert isinstance(done.exception, EvidenceMissing)
    assert "hotkey_file" in config.read_text()


def test_a_file_that_is_no_bundle_or_is_not_there_is_refused(config: Path) -> None:
    assert isinstance(CliRunner().invoke(app, ["receipts", "verify", str(config)]).exception, BundleWrong)
    gone = CliRunner().invoke(app, ["receipts", "verify", str(config.parent / "gone")])
    assert isinstance(gone.exception, EvidenceMissing)


async def test_receipts_progress_and_cursors_go_after_the_set_time_and_not_before(tmp_path: Path) -> None:
    _, signed, proof = prepared(tmp_path)
    async with open_store(f"sqlite:///{tmp_path}/validator.sqlite3") as store:
        at = now()
        await store.writer.run(lambda c: receipts.import_all(c, signed, at))
        await store.writer.run(lambda c: progress.import_all(c, [proof], at))
        page = int(at.timestamp()) // 300
        await store.writer.run(lambda c: page_cursors.move(c, "peer", page, 10, at))
        retention = Retention(store, 2 * _DAYS)

        async def left() -> list[int]:
            async with store.reading() as connection:
                tables = (receipt_rows, progress_receipts, cursors)
                counts = [await connection.execute(select(func.count()).select_from(t)) for t in tables]
                return [count.scalar_one() for count in counts]

        await retention.evict(at + timedelta(days=2))
        assert await left() == [2, 1, 1]
        assert await retention.evict(at + timedelta(days=2, seconds=301)) == 3
        assert await left() == [0, 0, 0]
