"""One run: processes over a log in memory, driven step by step by a script, healed and drained at its end."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from schemas.control import COMMAND_NAMES, Command, CommandName, encode_command
from schemas.times import format_ms
from scorer.model import Model
from streams import clients, task_state, topics
from streams.control_secrets import ControlKey, ControlSecrets
from streams.ingest import Ingest
from streams.intake import Intake
from streams.metrics import WorkerMetrics
from streams.names import Names
from streams.opening import Shared
from streams.population import CHANGED_SECONDS
from streams.settings import (
    HttpSettings,
    IngestSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
    WorkerSettings,
)
from streams.store import META_KEY
from streams.task import Task
from tests.simulator.clients import Admin, Consumer, Producer
from tests.simulator.feed import SOURCE, Fed
from tests.simulator.feeders import Feeder
from tests.simulator.log import Fate, Log, Place
from tests.simulator.process import CrashError, Process
from tests.simulator.script import CRASHES_MIN, Script, Step
from tests.simulator.store import Disk, Image, MemoryStore, copied, opener
from tests.simulator.workers import Worker, WrongError

NOW_MS: Final = 1_900_000_000_000
_VOUCHED_ROUNDS: Final = 20
"""Enough for some ticks of a quiet raw partition, each of which takes a question and its answer."""
_DRAIN_ROUNDS_MAX: Final = 2_000
_KEPT_DELETIONS_MS: Final = 7 * topics.DAY_MS
_WINDOW_SECONDS: Final = 86_400 * 4_000
"""Longer than any run, so that the reference need not know when slices end."""
_HASH_KEY: Final = b"simulated"
SECRETS: Final = ControlSecrets({"operator": ControlKey(b"secret", frozenset(COMMAND_NAMES))}, "operator", _HASH_KEY)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of; a canary replaces one part by a faulty one."""

    task: type[Task] = Task
    intake: type[Intake] = Intake
    store: type[MemoryStore] = MemoryStore
    producer: type[Producer] = Producer
    consumer: type[Consumer] = Consumer
    worker: type[Worker] = Worker
    feeder: type[Feeder] = Feeder


class World:
    """The installation of a run."""

    def __init__(self, script: Script, parts: Parts, metrics: WorkerMetrics, model: Model) -> None:
        self.script, self.parts, self.model = script, parts, model
        swarm = script.swarm
        self.swarm = swarm
        self.log = Log(NOW_MS)
        self.log.markers_late = swarm.markers_late
        self.names = Names("", model.name)
        self.networks = {
            network: NetworkSettings(
                raw_partitions=swarm.raw_partitions,
                sources=swarm.sources,
                idle_after_seconds=swarm.idle_after_seconds,
            )
            for network in swarm.mix.networks
        }
        self.lanes = LaneSettings(partitions=swarm.partitions)
        self.log.create(topics.specification(self.names, self.lanes, self.networks))
        self.fed: list[Fed] = []
        self.commands: list[tuple[Command, bool]] = []
        """Each with whether its signature is right."""
        self.hits: Counter[str] = Counter()
        self.crashes = 0
        self.disks: dict[int, Disk] = {}
        self.copies: dict[Path, Image] = {}
        """Local copies put aside, to be put back when they are old."""
        self.workers = [self._worker(number, metrics) for number in range(swarm.workers)]
        self.feeders = [self._feeder(slot) for slot in range(swarm.ingests)]
        self.heals = False
        """From the end of the script on nothing fails any more."""
        self.assign_workers()
        self.assign_feeders()

    # Putting together ----------------------------------------------------------------------------------------------

    def _connect(self, process: Process, points: dict[str, str]) -> clients.Connect:
        """Return what makes clients of the log for a process."""
        parts: Any = self.parts
        return clients.Connect(
            producer=lambda _kafka, options: parts.producer(self.log, options, process.probe, points),
            consumer=lambda _kafka, options: parts.consumer(self.log, options),
            admin=lambda _kafka: Admin(self.log),  # type: ignore[arg-type,return-value]
        )

    def _worker(self, number: int, metrics: WorkerMetrics) -> Worker:
        swarm, names = self.swarm, self.names
        process = Process(f"worker {number}", lambda point: self.hits.update([f"task: {point}"]))
        disk = self.disks[number] = Disk(self.log, process)
        disk.flushes = swarm.flushes
        points = {
            names.targets_lane: "credits",
            names.changes: "changes",
            names.lane_dead_letters: "letter",
            names.population: "population",
            f"{names.state} rows": "changelog",
            f"{names.state} record": "record",
        }
        shared = Shared(
            kafka=KafkaSettings(),
            names=names,
            networks=self.networks,
            model=self.model,
            settings=WorkerSettings(
                batch_rows_max=swarm.batch_rows_max,
                own_records_in_flight_max=swarm.own_in_flight_max,
                ledger_window_seconds=_WINDOW_SECONDS,
                ledger_rows_max=swarm.ledger_rows_max,
            ),
            partitions=swarm.partitions,
            directory=Path(f"/worker/{number}"),
            cache=None,  # type: ignore[arg-type]
            metrics=metrics,
            hash_key=_HASH_KEY,
            clock=lambda: self.log.now_ms / 1000,
            connect=self._connect(process, points),
            open_store=opener(disk, self.parts.store, swarm.recent_rows_max),
        )
        return self.parts.worker(process, self.log, shared, (self.parts.task, self.parts.intake))

    def _feeder(self, slot: int) -> Feeder:
        process = Process(f"ingest {slot}", lambda point: self.hits.update([f"ingest: {point}"]))
        points = {self.names.actors_lane: "lanes", self.names.feeds: "reports"} | {
            self.names.dead_letters(network): "letters" for network in self.networks
        }
        ingest = Ingest(
            kafka=KafkaSettings(),
            lanes=self.lanes,
            networks=self.networks,
            model=self.model.name,
            settings=IngestSettings(record_rows_max=self.swarm.record_rows_max, tick_interval_ms=0),
            secrets=SECRETS,
            http=HttpSettings(),
            slot=slot,
            version="",
            connect=self._connect(process, points),
        )
        return self.parts.feeder(process, self.log, ingest)

    def close(self) -> None:
        """Give back what a run takes of the machine."""
        for feeder in self.feeders:
            feeder.ingest.server.stop()

    # Groups --------------------------------------------------------------------------------------------------------

    def assign_workers(self) -> None:
        """Deal the partitions out among the workers that can hear."""
        members = [worker for worker in self.workers if worker.process.alive and not worker.process.deaf]
        if not members:
            return
        self.log.generations[self.names.app_id] += 1
        generation = self.log.generations[self.names.app_id]
        partitions = list(range(self.swarm.partitions))
        self.log.random.shuffle(partitions)
        for number, worker in enumerate(members):
            self._survives(worker, partial(worker.hear, generation, set(partitions[number :: len(members)])))

    def assign_feeders(self) -> None:
        """Deal the raw partitions out among the ingest processes that can hear."""
        members = [feeder for feeder in self.feeders if feeder.process.alive and not feeder.process.deaf]
        if not members:
            return
        group = self.names.ingest_group
        places = self.raw_places()
        self.log.random.shuffle(places)
        for feeder in members:
            self._survives(feeder, feeder.finish)
        self.log.generations[group] += 1
        for number, feeder in enumerate(members):
            if feeder.process.alive:
                mine = places[number :: len(members)]
                self._survives(feeder, partial(feeder.hear, self.log.generations[group], mine))

    def _survives(self, owner: Worker | Feeder, action: Callable[[], object]) -> bool:
        """Do something in a process; return False when it died of it."""
        try:
            action()
        except CrashError:
            self._kill(owner)
            return False
        return True

    def _kill(self, owner: Worker | Feeder) -> None:
        self.crashes += 1
        owner.process.alive = False
        owner.forget_everything()

    # Steps ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do all steps, then heal and drain."""
        for step in self.script.steps:
            self.do(step)
        self.drain()

    def do(self, step: Step) -> None:
        """Do one step."""
        self.log.random.seed(step.seed)
        self.log.now_ms += 50
        actions: dict[str, Callable[..., None]] = {
            "report": self._report,
            "ingest": self._ingest,
            "work": self._work,
            "markers": self.log.mark_some,
            "recover": self._recover,
            "crash": lambda number: self._crash(self.workers[number]),
            "ingest crash": lambda slot: self._crash(self.feeders[slot]),
            "task point": lambda number, point: self._arm(self.workers[number], point),
            "open point": lambda number, point: self._arm(self.workers[number], point),
            "ingest point": lambda slot, point: self._arm(self.feeders[slot], point),
            "trouble": lambda number, trouble: self._bother(self.workers[number], trouble),
            "ingest trouble": lambda slot, trouble: self._bother(self.feeders[slot], trouble),
            "move": self.assign_workers,
            "ingest move": self.assign_feeders,
            "pause": lambda number: self._deafen(self.workers[number]),
            "ingest pause": lambda slot: self._deafen(self.feeders[slot]),
            "stale copy": self._stale_copy,
            "lost copy": self._lost_copy,
            "damaged copy": self._damaged_copy,
            "time": self._pass_time,
            "compact": self._compact,
            "retain": self._retain,
            "garbage": self._garbage,
            "command": lambda name, user, well_signed: self._command(name, well_signed, user=user),
            "release": lambda network, well_signed: self._command(
                "release", well_signed, network=network, source=SOURCE
            ),
            "freeze": lambda network, well_signed: self._command("freeze", well_signed, network=network),
            "resume": lambda network, well_signed: self._command("resume", well_signed, network=network),
        }
        actions[step.name](*step.args)

    def _report(self, *records: tuple[int, Fed]) -> None:
        for partition, fed in records:
            self.fed.append(fed)
            place = (self.names.interactions(fed.network), partition)
            self.log.at(place).append((None, fed.value, None), self.log.now_ms, None)

    def _ingest(self, slot: int) -> None:
        feeder = self.feeders[slot]
        if feeder.process.alive:
            self._survives(feeder, feeder.step)

    def _work(self, partition: int) -> None:
        """Whoever believes to own the partition works on it."""
        for worker in self.workers:
            if worker.process.alive and partition in worker.assigned:
                self._survives(worker, partial(worker.work, partition, self.swarm.stale))

    def _recover(self) -> None:
        """Some of what is down comes back; the groups notice who is there."""
        chance = self.log.random.random
        workers = [worker.process for worker in self.workers]
        feeders = [feeder.process for feeder in self.feeders]
        for process in (*workers, *feeders):
            if not process.alive and (self.heals or chance() < 1 / 2):
                process.alive = True
            if process.deaf and (self.heals or chance() < 1 / 3):
                process.deaf = False
        for worker in self.workers:
            # A zombie hears of its partitions' fate before it has waited three heartbeats.
            if not worker.process.deaf:
                worker.lost.clear()
        covered = [p for w in self.workers if w.process.alive and not w.process.deaf for p in w.assigned]
        if sorted(covered) != list(range(self.swarm.partitions)) or any(
            w.process.alive and not w.process.deaf and w.generation != self.log.generations[self.names.app_id]
            for w in self.workers
        ):
            self.assign_workers()
        group = self.names.ingest_group
        if any(
            (f.process.alive and not f.process.deaf) != (f.generation == self.log.generations[group])
            for f in self.feeders
        ):
            self.assign_feeders()

    def _crash(self, owner: Worker | Feeder) -> None:
        if owner.process.alive:
            self._kill(owner)

    def _arm(self, owner: Worker | Feeder, point: str) -> None:
        owner.process.armed = point

    def _bother(self, owner: Worker | Feeder, trouble: str) -> None:
        owner.trouble = trouble

    def _deafen(self, owner: Worker | Feeder) -> None:
        owner.process.deaf = True

    def _stale_copy(self, number: int) -> None:
        """Put a local copy aside, or put one of long ago back: all of it or, as after a torn flush, one table."""
        images = self.disks[number].images
        for path in list(images):
            if path not in self.copies:
                self.copies[path] = copied(images[path])
                continue
            self._crash(self.workers[number])
            old = self.copies.pop(path)
            tables = list(old) if self.log.random.random() < 1 / 2 else [self.log.random.choice(list(old))]
            for table in tables:
                images[path][table] = old[table]

    def _damaged_copy(self, number: int) -> None:
        """Lose a table of each local copy."""
        self._crash(self.workers[number])
        for image in self.disks[number].images.values():
            image[self.log.random.choice(list(image))].clear()

    def _lost_copy(self, number: int) -> None:
        self._crash(self.workers[number])
        self.disks[number].images.clear()

    def _pass_time(self, seconds: int) -> None:
        self.log.now_ms += seconds * 1000
        self.log.expire()

    def _compact(self) -> None:
        for partition in self.log.topics[self.names.state]:
            partition.compact(self.log.now_ms - _KEPT_DELETIONS_MS)

    def _retain(self) -> None:
        """Delete from the lanes what was read, and the control records after it."""
        for number, state in self.committed_states().items():
            for lane, topic in (
                (task_state.ACTORS, self.names.actors_lane),
                (task_state.TARGETS, self.names.targets_lane),
            ):
                log = self.log.at((topic, number))
                left, _ = log.read(state.positions[lane] + 1, 1, committed=True)
                log.begin = max(log.begin, left[0].offset if left else log.stable_end)

    def _garbage(self) -> None:
        self.log.random.choice(self.feeders).garbage = True

    def _command(self, name: CommandName, well_signed: bool, **about: str) -> None:
        command = Command(
            id=f"c{len(self.commands)}",
            command=name,
            reason="asked for",
            key="operator",
            issued=format_ms(self.log.now_ms),
            **about,  # type: ignore[arg-type]
        )
        self.commands.append((command, well_signed))
        signed = SECRETS.signed(command) if well_signed else command
        place = (self.names.control, 0)
        self.log.at(place).append((None, encode_command(signed), None), self.log.now_ms, None)

    def committed_states(self) -> dict[int, task_state.TaskState]:
        """Return the last committed record of each task that has one."""
        states = {}
        for number, log in enumerate(self.log.topics[self.names.state]):
            for entry in reversed(log.entries):
                committed = entry.transaction is not None and entry.transaction.fate is Fate.COMMITTED
                if entry.key == META_KEY and entry.value is not None and committed:
                    states[number] = task_state.decode(entry.value)
                    break
        return states

    def raw_places(self) -> list[Place]:
        """Return every partition that ingest reads."""
        raw = self.feeders[0].ingest.network_of
        return [(topic, number) for topic in raw for number in range(len(self.log.topics[topic]))]

    # The end -------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Heal everything, and work until nothing is left to do."""
        self.log.random.seed(self.script.seed)
        while self.crashes < CRASHES_MIN:
            self._recover()
            self._crash(self.log.random.choice(self.workers))
        self.heals = True
        self.log.markers_late = 0.0
        owners: list[Worker | Feeder] = [*self.workers, *self.feeders]
        for owner in owners:
            owner.process.armed = owner.trouble = ""
        self.log.now_ms += 60_000
        for network in self.networks:
            self._command("resume", well_signed=True, network=network)
            self.log.now_ms += 1_000
        for vouched_rounds in (0, _VOUCHED_ROUNDS):
            self._work_off(vouched_rounds)
        self._rest()

    def _work_off(self, vouched_rounds: int) -> None:
        """Work until nothing is left to do; in so many rounds before, ends of raw partitions are asked for too."""
        for number in range(vouched_rounds + _DRAIN_ROUNDS_MAX):
            asks = number < vouched_rounds
            for feeder in self.feeders:
                feeder.asks = float(asks)
            self.log.now_ms += 1_000
            self.log.expire()
            for transaction in list(self.log.unmarked):
                self.log.finish(transaction.owner)
            self._recover()
            for slot in range(len(self.feeders)):
                self._ingest(slot)
            for partition in range(self.swarm.partitions):
                self._work(partition)
            if not asks and self.is_idle():
                return
        raise WrongError(f"not idle after {_DRAIN_ROUNDS_MAX} rounds")

    def _rest(self) -> None:
        """Let pass the time within which everything is told that changed, while nothing comes."""
        self.log.now_ms += int(CHANGED_SECONDS * 1000)
        for partition in range(self.swarm.partitions):
            self._work(partition)

    def is_idle(self) -> bool:
        """Return whether all raw records were ingested, all tasks are open, no lane record waits, and all is told."""
        if not all(feeder.has_told() for feeder in self.feeders):
            return False
        places = self.raw_places()
        ingested = self.log.committed(self.names.ingest_group, places)
        if any(self.log.at(place).end > ingested.get(place, (0, ""))[0] for place in places):
            return False
        owners = {partition: worker for worker in self.workers for partition in worker.tasks}
        if len(owners) < self.swarm.partitions:
            return False
        return not any(
            self.log.at((topic, number)).read(worker.tasks[number].state.positions[lane] + 1, 1, committed=True)[0]
            for number, worker in owners.items()
            for lane, topic in worker.topics.items()
        )

    def fresh_task(self, partition: int) -> Task:
        """Return a task of another worker, with an empty disk and nothing that fails."""
        process = Process("reader", lambda _: None)
        shared = replace(
            self.workers[0].shared,
            connect=self._connect(process, {}),
            open_store=opener(Disk(self.log, process), MemoryStore, 1),
        )
        return Task(partition, shared)
