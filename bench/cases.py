"""The measurements: each runs on an installation of its own and yields figures."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench.drive import Job, Result
from bench.figures import APART, TOGETHER, Figure, quantiles_between
from bench.heart import Heart
from bench.load import HOUR_MS, LABELS, NETWORK, Load, Shape, Users
from bench.paced import Pace
from bench.population import write_users
from bench.site import Installation, Role, Site, until
from bench.usage import Usage, by_kind
from schemas.incident import Incident, Slice, encode_incident
from schemas.times import format_ms
from streams import clients
from streams.task_state import ACTORS, TARGETS

ROOT: Final = Path(__file__).resolve().parents[1]
_SECONDS_MAX: Final = 900.0
_LEDGER_PAIRS: Final = 3
SEED: Final = 17
_INCIDENT: Final = "declared/twitter/2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    events: int
    warm_events: int = 500_000
    """Sent before, not measured: kernels are loaded, stores opened, groups joined, the broker's code compiled."""
    preload: int = 0
    """Of uniform users: so many have state before."""
    pace_seconds: float = 20.0
    timer_users: int = 500_000
    idle_users: int = 5_000_000
    idle_seconds: float = 30.0

    def loads(self, users: Users, shape: Shape) -> tuple[Load, Load]:
        """Return what comes before, and what is measured."""
        preload = self.preload if users == "uniform" else 0
        warm = self.warm_events + preload
        end_ms = int(time.time() * 1000) - HOUR_MS
        first = Load(users, shape, SEED, 0, warm, warm + self.events, end_ms, preload)
        return first, replace(first, first=warm, events=self.events)


def ingest(site: Site, users: Users, shape: Shape, sizes: Sizes, profile: str | None = None) -> Iterator[Figure]:
    """Ingest alone: the whole process, from raw records that wait to packed records committed."""
    with site.installation(f"ingest-{users}-{shape}") as installation:
        before, during = _ingested(installation, *sizes.loads(users, shape), profile)[:2]
    load = f"{shape}, {LABELS[users]}"
    yield _cpu("ingest", load, before, during, sizes.events)
    yield Figure("ingest", load, sizes.events / (during.at_seconds - before.at_seconds), "events/s")


def stages(
    site: Site, users: Users, sizes: Sizes, wanted: Sequence[str], profile: str | None = None
) -> Iterator[Figure]:
    """Ingest with single events, then each stage alone over what it wrote; only the `wanted` ones are told."""
    with site.installation(f"stages-{users}") as installation:
        alone = "ingest" in wanted
        loads = sizes.loads(users, "single" if alone else "arrays")
        before, during, warm_ends, ends = _ingested(installation, *loads, None)
        sum_us = 0.0
        if alone:
            figure = _cpu("ingest", f"single, {LABELS[users]}", before, during, sizes.events)
            yield figure
            sum_us += figure.value
        for lane in (ACTORS, TARGETS):
            if lane == TARGETS and TARGETS not in wanted:
                break
            job = Job(
                str(installation.config),
                lane,
                str(installation.directory / "driven"),
                warm_ends,
                ends,
                profile if lane == wanted[-1] else None,
            )
            result = driven(job)
            stretch = result.measured
            us = stretch.cpu_seconds / stretch.rows * 1e6
            if lane in wanted:
                yield Figure(f"{lane} stage", LABELS[users], us, "CPU µs/event", stretch.by_kind)
                yield Figure(
                    f"{lane} stage",
                    LABELS[users],
                    stretch.rows / stretch.wall_seconds,
                    "events/s",
                    f"{stretch.rows:,} rows",
                )
            # An event that nobody else is credited for costs the targets stage nothing.
            sum_us += us * stretch.rows / sizes.events
            warm_ends, ends = result.warm_target_ends, installation.ends(installation.names.targets_lane)
        if alone and TARGETS in wanted:
            yield Figure(APART, f"single, {LABELS[users]}", sum_us, "CPU µs/event")


def ledger(site: Site, users: Users, sizes: Sizes) -> Iterator[Figure]:
    """The actors stage with its ledger and without, on distinct events: what the ledger costs on top.

    In turns, since the machine is now faster, now slower: the figure is the median of the differences within a pair.
    """
    differences = []
    for pair in range(_LEDGER_PAIRS):
        figures = {}
        for kept in (True, False):
            with site.installation(f"ledger-{users}-{pair}-{kept}") as installation:
                _, _, warm_ends, ends = _ingested(installation, *sizes.loads(users, "arrays"), None)
                directory = str(installation.directory / "driven")
                result = driven(Job(str(installation.config), ACTORS, directory, warm_ends, ends, ledger=kept))
            stretch = result.measured
            figures[kept] = stretch.cpu_seconds / stretch.rows * 1e6
            what = "with" if kept else "without"
            yield Figure(f"actors stage {what} ledger", LABELS[users], figures[kept], "CPU µs/event", stretch.by_kind)
        differences.append(figures[True] - figures[False])
    told = ", ".join(f"{difference:.2f}" for difference in differences)
    yield Figure("ledger, on top", LABELS[users], median(differences), "CPU µs/event", f"median of {told}")


def retract(site: Site, users: Users, sizes: Sizes) -> Iterator[Figure]:
    """A load that is in the ledger taken back by `clout retract`: how fast, and what it costs the worker.

    The command's start counts; the worker's share ends when the targets stage has taken everything back.
    """
    label = f"arrays, {LABELS[users]}"
    with site.installation(f"retract-{users}") as installation, ExitStack() as running:
        _, load = sizes.loads(users, "arrays")
        roles = [running.enter_context(installation.role(name)) for name in ("ingest", "score")]
        for role in roles:
            role.wait_until_up()
        worker = roles[1]
        since = _moment()
        installation.write(load)
        _processed(worker, load.events)
        applied = worker.counted("applied")
        span = ["--network", NETWORK, "--from", since, "--to", _moment(), "--reason", _INCIDENT]
        _open_incident(installation)
        before = worker.usage()
        command = [sys.executable, "-m", "clout", "--config", str(installation.config), "retract", *span]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE)  # noqa: S603  our own command line
        rate = load.events / (time.monotonic() - before.at_seconds)
        until(lambda: worker.counted("adjusted") >= applied, _SECONDS_MAX, "the worker takes everything back")
        yield Figure("taking back", label, rate, "events/s", "clout retract, from its start to its end")
        yield _cpu("taking back, worker process", label, before, worker.usage(), load.events)


def _open_incident(installation: Installation) -> None:
    """Write an incident, as a guard does: events are taken back because of one alone."""
    now = format_ms(int(time.time() * 1000))
    incident = Incident(
        id=_INCIDENT, kind="declared", slice=Slice(network=NETWORK), severity="major", status="investigating",
        title="All of it is wrong", opened=now, updated=now, evidence=[], affected_users=0,
    )  # fmt: skip
    failed = clients.write_one(
        installation.kafka,
        installation.names.incidents,
        encode_incident(incident),
        key=_INCIDENT.encode(),
        partition=0,
        timeout_seconds=10,
    )
    if failed:
        raise RuntimeError(f"the incident was not written: {failed}")


def _moment() -> str:
    """Return a moment between what arrived and what will arrive."""
    time.sleep(0.1)
    moment = format_ms(int(time.time() * 1000))
    time.sleep(0.1)
    return moment


def end_to_end(site: Site, users: Users, shape: Shape, sizes: Sizes, wanted: Sequence[str]) -> Iterator[Figure]:
    """Ingest and one worker together; then, if wanted, latency at half the rate found, and a restore."""
    label = f"{shape}, {LABELS[users]}"
    with site.installation(f"e2e-{users}-{shape}") as installation, ExitStack() as running:
        warm, main = sizes.loads(users, shape)
        installation.write(warm)
        gate = running.enter_context(installation.gate(main))
        roles = [running.enter_context(installation.role(name)) for name in ("ingest", "score")]
        for role in roles:
            role.wait_until_up()
        worker = roles[1]
        _processed(worker, warm.events)
        time.sleep(1)
        before = [role.usage() for role in roles]
        commits_before = [role.commits() for role in roles]
        broker_before = Usage.of(site.broker_pid)
        gate()
        _processed(worker, main.total)
        after = [role.usage() for role in roles]
        broker_after = Usage.of(site.broker_pid)
        rate = main.events / (after[1].at_seconds - before[1].at_seconds)
        if "e2e" in wanted:
            yield Figure("end to end", label, rate, "events/s", "one ingest process, one worker")
            names = ("ingest process", "worker process, both stages under Faust", "broker")
            usages = list(zip(names, (*before, broker_before), (*after, broker_after), strict=True))
            for name, first, last in usages:
                yield _cpu(f"end to end, {name}", label, first, last, main.events)
            both = sum(last.cpu_seconds - first.cpu_seconds for _, first, last in usages[:2])
            yield Figure(TOGETHER, label, both / main.events * 1e6, "CPU µs/event")
            for name, _, last in usages:
                yield Figure(f"end to end, {name}", label, last.resident_mb, "MB resident")
            for name, role, earlier in zip(names, roles, commits_before, strict=False):
                yield Figure(f"end to end, {name}", label, main.events / (role.commits() - earlier), "events/commit")
            changes = sum(worker.metric("^clout_changes_total").values())
            yield Figure("end to end", label, changes / main.total, "changes/event")
        if "latency" in wanted:
            yield from latency(installation, worker, main, rate / 2, sizes.pace_seconds)
        running.close()
        if "restore" in wanted:
            yield from restore(installation, users)


def latency(installation: Installation, worker: Role, load: Load, rate: float, seconds: float) -> Iterator[Figure]:
    """From arrival in Kafka to the change committed, from the worker's own histogram, at a steady rate."""
    pace = Pace(installation.kafka.broker, installation.names.interactions(NETWORK), load, int(rate), seconds)
    seen = worker.counted("applied", "self")
    before = worker.metric("^clout_arrival_to_change_seconds_bucket")
    producer = subprocess.run(
        [sys.executable, "-m", "bench.paced"],
        input=msgspec.json.encode(pace),
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
    )
    sent = msgspec.json.decode(producer.stdout)
    behind = seen + sent["events"] - worker.counted("applied", "self")
    _processed(worker, seen + sent["events"])
    after = worker.metric("^clout_arrival_to_change_seconds_bucket")
    label = f"{load.shape}, {LABELS[load.users]}"
    note = (
        f"at {sent['events'] / sent['seconds']:,.0f} events/s for {sent['seconds']:.0f} s, "
        f"{behind:,} events under way at the end; interpolated within the histogram's buckets"
    )
    for name, value in quantiles_between(before, after).items():
        yield Figure(f"arrival to change, {name}", label, value, "s", note)


def restore(installation: Installation, users: Users) -> Iterator[Figure]:
    """A partition alone, then all side by side, each into a fresh directory, from opening to ready."""
    every = installation.ends(installation.names.state)
    for name, chosen in (("one partition", [max(every, key=lambda p: every[p])]), ("all partitions", list(every))):
        job = Job(
            str(installation.config),
            "restore",
            str(installation.directory / f"restored-{len(chosen)}"),
            {},
            {partition: every[partition] for partition in chosen},
        )
        stretch = driven(job).measured
        note = f"{stretch.rows:,} records in {stretch.wall_seconds:.1f} s"
        yield Figure(f"restore, {name}", LABELS[users], stretch.rows / stretch.wall_seconds, "records/s", note)
        yield Figure(
            f"restore, {name}",
            LABELS[users],
            stretch.cpu_seconds / stretch.rows * 1e6,
            "CPU µs/record",
            stretch.by_kind,
        )


def timers(site: Site, sizes: Sizes) -> Iterator[Figure]:
    """Decay timers that fire while clocks go on, hour by hour: all that the tasks spend, by timer."""
    clock_ms = int(time.time() * 1000) - 30 * 24 * HOUR_MS
    with site.installation("timers") as installation:
        write_users(installation, sizes.timer_users, clock_ms)
        every = installation.ends(installation.names.state)
        directory = installation.directory / "driven"
        job = Job(str(installation.config), "timers", str(directory), {}, every, clock_ms=clock_ms)
        stretch = driven(job).measured
    load = f"{sizes.timer_users:,} users"
    yield Figure("timer fired", load, stretch.cpu_seconds / stretch.rows * 1e6, "CPU µs/timer", stretch.by_kind)
    note = f"{stretch.rows:,} timers in {stretch.wall_seconds:.1f} s"
    yield Figure("timer fired", load, stretch.rows / stretch.wall_seconds, "timers/s", note)
    with site.installation("credits") as installation:
        write_users(installation, sizes.timer_users, clock_ms)
        every = installation.ends(installation.names.state)
        directory = installation.directory / "driven"
        job = Job(str(installation.config), "credits", str(directory), {}, every, clock_ms=clock_ms)
        credit = driven(msgspec.structs.replace(job, users=sizes.timer_users)).measured
    note = f"{credit.by_kind}; {credit.rows:,} users not read lately, one credit each"
    yield Figure("credit that changes a score", load, credit.cpu_seconds / credit.rows * 1e6, "CPU µs/credit", note)


def idle(site: Site, sizes: Sizes) -> Iterator[Figure]:
    """A worker with many users to whom nothing happens but time, which goes by as it does: heartbeats each second."""
    with site.installation("idle") as installation, ExitStack() as running:
        write_users(installation, sizes.idle_users, int(time.time() * 1000))
        roles = [running.enter_context(installation.role(name)) for name in ("ingest", "score")]
        for role in roles:
            role.wait_until_up(_SECONDS_MAX)
        worker = roles[1]
        restored = worker.usage().resident_mb
        beats = running.enter_context(Heart(installation))
        time.sleep(sizes.idle_seconds / 3)
        before, fired, commits = worker.usage(), worker.metric("^clout_changes_total"), worker.commits()
        clocks = worker.metric("^clout_clock_seconds")
        time.sleep(sizes.idle_seconds)
        after = worker.usage()
        seconds = after.at_seconds - before.at_seconds
        changes = sum(worker.metric("^clout_changes_total").values()) - sum(fired.values())
        moved = min(worker.metric("^clout_clock_seconds").values()) - min(clocks.values())
        load = f"{sizes.idle_users:,} users"
        # Of 10,000 parts of a second each, µs are hundredths: percent.
        kinds = by_kind(before, after, round(seconds * 10_000))
        note = f"clocks moved {moved:.0f} s in {seconds:.0f} s, {beats.sent:,} heartbeats; {kinds}"
        share = (after.cpu_seconds - before.cpu_seconds) / seconds * 100
        yield Figure("idle worker", load, share, "% of a core", note)
        yield Figure("idle worker", load, changes / seconds, "changes by decay/s")
        yield Figure("idle worker", load, (worker.commits() - commits) / seconds, "commits/s")
        yield Figure("idle worker, after its restore", load, restored, "MB resident")
        yield Figure("idle worker", load, after.resident_mb, "MB resident")


def driven(job: Job) -> Result:
    """Run a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.drive"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
    )
    return msgspec.json.decode(done.stdout, type=Result)


def _ingested(
    installation: Installation, warm: Load, main: Load, profile: str | None
) -> tuple[Usage, Usage, dict[int, int], dict[int, int]]:
    """Take everything in; return the usage before and after the measured stretch, and the lane's ends."""
    installation.write(warm)
    lane = installation.names.actors_lane
    with installation.gate(main) as open_gate, installation.role("ingest", profile=profile) as role:
        role.wait_until_up()
        _taken_in(role, warm.events)
        warm_ends = installation.ends(lane)
        before = role.usage()
        open_gate()
        _taken_in(role, main.total)
        after = role.usage()
    return before, after, warm_ends, installation.ends(lane)


def _taken_in(role: Role, events: int) -> None:
    """Return when ingest has committed so many events."""
    until(lambda: role.counted("read") >= events, _SECONDS_MAX, f"ingest reads {events} events")
    committed = r'^clout_events_total\{.*outcome="read"'
    until(lambda: sum(role.metric(committed).values()) >= events, 30, f"ingest commits {events} events")


def _processed(worker: Role, events: int) -> None:
    """Return when the worker has committed so many events."""
    until(lambda: worker.counted("applied", "self") >= events, _SECONDS_MAX, f"the worker applies {events} events")


def _cpu(measure: str, load: str, before: Usage, after: Usage, events: int) -> Figure:
    value = (after.cpu_seconds - before.cpu_seconds) / events * 1e6
    return Figure(measure, load, value, "CPU µs/event", by_kind(before, after, events))
