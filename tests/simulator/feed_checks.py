"""What must hold of the reports on `feeds.v1` at the end of a run."""

from collections import Counter, defaultdict

from schemas.feed_report import FeedReport, decode_feed_report
from schemas.times import format_ms
from streams import feed_position
from tests.simulator.world import World


def misreported(world: World) -> list[str]:
    """The last report of a raw partition is what ingest committed; volumes never told of more than was read."""
    told = _reports(world)
    places = [
        (world.names.interactions(network), number, network)
        for network in world.networks
        for number in range(world.swarm.raw_partitions)
    ]
    committed = world.log.committed(world.names.ingest_group, [(topic, number) for topic, number, _ in places])
    problems = []
    for topic, number, network in places:
        position, metadata = committed.get((topic, number), (0, ""))
        state = feed_position.decode(metadata, world.swarm.partitions)
        of, reports = f"{network}/{number}", told[f"{network}/{number}".encode()]
        if not reports:
            problems.append(f"{of}: never reported")
            continue
        last = reports[-1]
        time = format_ms(state.time_ms) if state.time_ms else None
        facts = {
            "position": (last.position, position),
            "counters": (last.counters, state.counters),
            "time": (last.time, time),
            "frozen": (last.frozen, False),
        }
        problems += [f"{of}: {what} {is_}, not {should}" for what, (is_, should) in facts.items() if is_ != should]
        problems += [f"{of}: {problem}" for problem in _too_much(reports)]
    return problems


def _reports(world: World) -> defaultdict[bytes, list[FeedReport]]:
    told: defaultdict[bytes, list[FeedReport]] = defaultdict(list)
    [log] = world.log.topics[world.names.feeds]
    for entry in log.read(0, len(log.entries), committed=True)[0]:
        told[entry.key or b""].append(decode_feed_report(entry.value or b""))
    return told


def _too_much(reports: list[FeedReport]) -> list[str]:
    """Return where the volumes up to a report say more than had been read."""
    sums: Counter[str] = Counter()
    problems = []
    for report in reports:
        sums["events"] += sum(volume.events for volume in report.volumes)
        sums["retracting"] += sum(volume.retracting for volume in report.volumes)
        counters = report.counters
        if sums["events"] > counters["passed"] + counters["retracting"] or sums["retracting"] > counters["retracting"]:
            problems.append(f"{dict(sums)} told, of {counters}")
    return problems
