"""What can happen to an installation: each fault harms one thing and leaves it to mend itself."""

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from clout.broker import LocalBroker
from tests.drills.small_disk import no_room
from tests.roles import Installation, Role

SESSION_SECONDS: Final = 6
"""Of a worker: the least that a broker allows."""
FROZEN_SECONDS: Final = 14.0
"""Longer than the sessions of workers and ingests."""
STOP_SECONDS: Final = 60.0
"""A role under load on a small machine, in the middle of other faults."""
_LOOK_SECONDS: Final = 1.0
NO_SPACE: Final = "No space left", "File too large"
PARTS: Final = "*.sst", "MANIFEST-*", "CURRENT"
"""Files of a store that matter."""
SURELY_SHARE: Final = 0.5
DAMAGED_FILES: Final = 2
"""In each store."""

Fault = Callable[["Harm"], None]


class Harm:
    """Does one thing after the other to the roles and to the broker, and keeps count."""

    def __init__(self, installation: Installation, broker: LocalBroker, *, seed: int, full_seconds: float) -> None:
        """Take an installation; worker 0 may have a small disk of its own."""
        self.installation = installation
        self.broker = broker
        self.small_disk = False
        self.full_seconds = full_seconds
        """Time for a worker to meet its full disk by itself, before it is told to end and begins again on it."""
        self.choose = random.Random(seed)
        self.ingests: list[Role] = []
        self.workers: list[Role] = []
        self.done: Counter[str] = Counter()
        self.ended_by_themselves: list[str] = []
        self.copies: dict[str, Path] = {}

    def start(self, *, ingests: int, workers: int) -> None:
        """Start the roles."""
        self.ingests, self.workers = self.installation.up(ingests=ingests, workers=workers)

    def do(self, fault: Fault) -> None:
        """Do one thing; roles that ended by themselves meanwhile are started again, as a supervisor does."""
        fault(self)
        self.done[fault.__name__.replace("_", " ")] += 1
        self.look_after()

    def look_after(self) -> None:
        """Start roles that ended by themselves."""
        for role in (*self.ingests, *self.workers):
            if role.ended():
                code = role.process.returncode if role.process is not None else None
                self.ended_by_themselves.append(f"{role.name}: exit code {code}")
                role.launch()

    @contextmanager
    def looked_after(self) -> Iterator[None]:
        """Look after the roles all the time, as a supervisor would."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(_LOOK_SECONDS):
                self.look_after()

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()

    def some_worker(self) -> Role:
        """Choose a worker."""
        return self.choose.choice(self.workers)

    def some_ingest(self) -> Role:
        """Choose an ingest process."""
        return self.choose.choice(self.ingests)

    def directory(self, worker: Role) -> Path:
        """Return where a worker's stores lie."""
        return directory_of(self.installation, int(worker.name.removeprefix("score-")))

    def nap(self, least: float, most: float) -> None:
        """Wait for a while."""
        time.sleep(self.choose.uniform(least, most))


def directory_of(installation: Installation, slot: int) -> Path:
    """Return where the stores of the worker with this slot lie."""
    return installation.directory / "state" / installation.names.app_id / f"worker-{slot}"


# Processes -----------------------------------------------------------------------------------------------------------


def worker_killed(harm: Harm) -> None:
    """SIGKILL, and back before or after its session ends."""
    role = harm.some_worker()
    role.kill()
    harm.nap(0, SESSION_SECONDS + 2)
    role.launch()


def ingest_killed(harm: Harm) -> None:
    """SIGKILL, and back."""
    role = harm.some_ingest()
    role.kill()
    harm.nap(0, 5)
    role.launch()


def everybody_killed(harm: Harm) -> None:
    """As when the machine goes down."""
    for role in (*harm.ingests, *harm.workers):
        role.kill()
    for role in (*harm.ingests, *harm.workers):
        role.launch()


def worker_frozen(harm: Harm) -> None:
    """SIGSTOP beyond the session: it comes back as a zombie."""
    _freeze(harm.some_worker())


def ingest_frozen(harm: Harm) -> None:
    """SIGSTOP beyond the session: it comes back as a zombie."""
    _freeze(harm.some_ingest())


def _freeze(role: Role) -> None:
    role.freeze()
    time.sleep(FROZEN_SECONDS)
    role.thaw()


def worker_left(harm: Harm) -> None:
    """One worker fewer for a while."""
    _leave(harm, harm.some_worker())


def ingest_left(harm: Harm) -> None:
    """One ingest process fewer for a while."""
    _leave(harm, harm.some_ingest())


def _leave(harm: Harm, role: Role) -> None:
    if not role.ended():
        role.stop(STOP_SECONDS)
    harm.nap(0, 4)
    role.launch()


def roles_added(harm: Harm) -> None:
    """One worker and one ingest process more for a while."""
    more = (
        harm.installation.worker(len(harm.workers)).launch(),
        harm.installation.ingest(len(harm.ingests)).launch(),
    )
    harm.nap(8, 14)
    for role in more:
        if not role.ended():
            role.stop(STOP_SECONDS)
        harm.installation.roles.remove(role)


# Broker --------------------------------------------------------------------------------------------------------------


def broker_stopped(harm: Harm) -> None:
    """It goes in good order and comes back."""
    harm.broker.down()
    harm.nap(0, 4)
    harm.broker.up()


def broker_killed(harm: Harm) -> None:
    """It goes without a word and comes back."""
    kill_broker(harm.broker)
    harm.broker.up()


def kill_broker(broker: LocalBroker) -> None:
    """SIGKILL, and its end taken note of."""
    running = broker.running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    broker._reap()


# Local state ---------------------------------------------------------------------------------------------------------


def state_deleted(harm: Harm) -> None:
    """A worker comes back without its files."""
    role = harm.some_worker()
    role.kill()
    _empty(harm.directory(role))
    role.launch()


def files_damaged(harm: Harm) -> None:
    """A worker comes back to files with garbage in them, cut short or missing."""
    role = harm.some_worker()
    role.kill()
    for store in _stores(harm.directory(role)):
        files = sorted(file for pattern in PARTS for file in store.glob(pattern))
        for file in harm.choose.sample(files, min(DAMAGED_FILES, len(files))):
            harm.choose.choice([_scribble, _cut, _remove])(harm, file)
        if harm.choose.random() < SURELY_SHARE:
            # Not every damage shows: a list of tables may be cut where nothing is lost. This does.
            (store / "CURRENT").write_bytes(b"garbage")
    role.launch()


def files_damaged_in_use(harm: Harm) -> None:
    """Tables get garbage in them while a worker reads and writes."""
    for store in _stores(harm.directory(harm.some_worker())):
        for file in store.glob("*.sst"):
            # Compaction may take the file away at this moment.
            with suppress(FileNotFoundError):
                _scribble(harm, file)


def old_state_put_back(harm: Harm) -> None:
    """A worker comes back to the files that it had a while ago."""
    role = harm.workers[-1]
    role.kill()
    directory = harm.directory(role)
    copy = harm.copies.get(role.name)
    if copy is not None:
        _empty(directory)
        shutil.copytree(copy, directory, dirs_exist_ok=True)
    else:
        copy = harm.copies[role.name] = harm.installation.directory / f"copy-of-{role.name}"
        shutil.copytree(directory, copy)
    role.launch()


def disk_full(harm: Harm) -> None:
    """No room for a worker's files while it works, while it ends and while it begins; then there is room again."""
    role = harm.workers[0]
    if role.process is None or role.ended():
        return
    with no_room(harm.directory(role), mounted=harm.small_disk, pid=role.process.pid):
        if _says_no_space(role, harm.full_seconds) or not harm.small_disk:
            return
        role.stop(STOP_SECONDS)
        role.launch()
        _says_no_space(role, harm.full_seconds)


def _says_no_space(role: Role, seconds: float) -> bool:
    """Return whether the worker's log says that there is no room, from now on and within the time."""
    deadline, before = time.monotonic() + seconds, role.log_file.stat().st_size
    while time.monotonic() < deadline:
        with role.log_file.open("rb") as log:
            log.seek(before)
            said = log.read().decode(errors="replace")
        if any(words in said for words in NO_SPACE):
            return True
        time.sleep(0.5)
    return False


def _stores(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()] if directory.exists() else []


def _empty(directory: Path) -> None:
    """Remove what is in a directory, which itself may be a file system of its own."""
    for store in _stores(directory):
        shutil.rmtree(store)


def _scribble(harm: Harm, file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(int(harm.choose.random() * file.stat().st_size))
        stream.write(harm.choose.randbytes(64))


def _cut(harm: Harm, file: Path) -> None:
    os.truncate(file, int(harm.choose.random() * file.stat().st_size))


def _remove(_harm: Harm, file: Path) -> None:
    file.unlink()


ALL: Final[tuple[Fault, ...]] = (
    worker_killed,
    files_damaged,
    ingest_killed,
    old_state_put_back,
    disk_full,
    worker_frozen,
    broker_killed,
    roles_added,
    state_deleted,
    ingest_frozen,
    files_damaged_in_use,
    broker_stopped,
    worker_left,
    ingest_left,
    everybody_killed,
)
