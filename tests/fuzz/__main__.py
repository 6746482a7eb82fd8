"""`make fuzz`: many damaged inputs for every reader of bytes; ends with 1 when anything was found."""

import argparse
import sys
import time

import numba

from tests.fuzz.campaign import Outcome, campaign
from tests.fuzz.targets import targets


def main() -> int:
    """Run all targets, or those named, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="the same one gives the same inputs")
    parser.add_argument("--target", action="append", default=[], help="only this one; may be given again")
    given = parser.parse_args()
    if not numba.config.BOUNDSCHECK:  # type: ignore[attr-defined]
        parser.error("kernels do not check their indices: set NUMBA_BOUNDSCHECK=1 and a NUMBA_CACHE_DIR (`make fuzz`)")
    chosen = {name: target for name, target in targets().items() if not given.target or name in given.target}
    if not chosen:
        parser.error(f"no such target; there are: {', '.join(targets())}")
    print(f"{given.inputs:,} inputs, seed {given.seed}", flush=True)  # noqa: T201
    outcomes = []
    for name, target in chosen.items():
        outcome = campaign(target, -(-given.inputs // len(chosen)), given.seed)
        outcomes.append(outcome)
        _show(name, outcome)
    _show("all", Outcome(sum(found.inputs for found in outcomes), sum(found.seconds for found in outcomes), "", b""))
    findings = sum(bool(found.finding) for found in outcomes)
    print(f"{findings} findings")  # noqa: T201
    return 1 if findings else 0


def _show(name: str, outcome: Outcome) -> None:
    rate = outcome.inputs / outcome.seconds
    print(f"{name:<24} {outcome.inputs:>10,} inputs {rate:>8,.0f}/s", flush=True)  # noqa: T201
    if outcome.finding:
        print(f"  {outcome.finding.strip()}\n  input ({len(outcome.value)} bytes): {outcome.value[:400]!r}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
