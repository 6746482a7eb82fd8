"""A demonstration whose gateway and workers are killed once each: pages heal by themselves, and no stream has a gap."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from clout.demo.stage import Chains
from schemas.change import decode_change
from tests.pages.conftest import CHROMIUM
from tests.pages.test_pages import LIVE, RECONNECTING, sequences
from tests.roles import CLOUT, eventually

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

SECONDS: Final = 120
HEALED_MS: Final = 90_000
"""A busy machine takes long to start a gateway or a worker."""


class Client(threading.Thread):
    """Follows all changes over server-sent events, and goes on after each dropped connection where it was."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.chains, self.dropped, self.resets = Chains(), 0, 0
        self._url, self._last, self._ended = url, "", threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
            except httpx.HTTPError:
                self.dropped += 1
                self._ended.wait(0.2)

    def end(self) -> None:
        self._ended.set()
        self.join(20)

    def _listen(self) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        event: dict[str, str] = {}
        with httpx.stream("GET", f"{self._url}v1/scores/stream", headers=headers, timeout=20) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if self._ended.is_set():
                    return
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                else:
                    self._take(event)
                    event = {}

    def _take(self, event: dict[str, str]) -> None:
        self._last = event.get("id", self._last)
        self.resets += event.get("event") == "reset"
        if event.get("event") == "change":
            self.chains.take(decode_change(event["data"].encode()))


@contextmanager
def demonstration(directory: Path) -> Iterator[tuple[str, Path, Callable[[], str]]]:
    """Run a demonstration; gives the pages' address, its run directory, and how to wait for what it says at its end."""
    log = directory / "demo.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*CLOUT, "demo", "--seconds", str(SECONDS)],
            env={**os.environ, "XDG_DATA_HOME": str(directory), "CLOUT_GATEWAY__PORT": "0", "COLUMNS": "200"},
            cwd=directory,
            stdout=file,
            stderr=subprocess.STDOUT,
        )

    def ends() -> str:
        assert process.wait(SECONDS + 200) == 0, log.read_text()
        return log.read_text()

    def address() -> re.Match[str] | None:
        return re.search(r"Live scores in a browser: (http://\S+/)", log.read_text())

    try:
        eventually(address, seconds=120, otherwise=log.read_text)
        found = address()
        assert found is not None
        yield found[1], directory / "clout" / "demo" / "run", ends
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def kill(file: Path) -> None:
    """Kill a role without a warning, and return when its supervisor has started another."""
    pid = json.loads(file.read_bytes())["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: file.exists() and json.loads(file.read_bytes())["pid"] != pid, seconds=90)


def moves(page: Page) -> None:
    """Return when the page's person has changed once more."""
    before = page.locator("[data-is=sequence]").inner_text()
    expect(page.locator("[data-is=sequence]")).not_to_have_text(before, timeout=HEALED_MS)


def highest(url: str) -> str:
    """Return who stands highest, as soon as somebody does."""
    answers: list[dict[str, Any]] = []

    def found() -> bool:
        answers[:] = httpx.get(f"{url}v1/top", timeout=10).json()["users"]
        return bool(answers)

    eventually(found)
    return str(answers[0]["user"])


def test_pages_heal_and_no_stream_has_a_gap(tmp_path: Path, say: Callable[[str], None]) -> None:
    with demonstration(tmp_path) as (url, run, ends), sync_playwright() as playwright:
        client = Client(url)
        client.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        time.sleep(5)
        page.goto(f"{url}people/{highest(url)}")
        page.wait_for_selector(LIVE)
        page.wait_for_selector("[data-is=changes] li")
        moves(page)

        began = time.monotonic()
        threading.Thread(target=kill, args=(run / "gateway-0.json",), daemon=True).start()
        page.wait_for_selector(RECONNECTING)
        page.wait_for_selector(LIVE, timeout=HEALED_MS)
        healed_seconds = time.monotonic() - began
        moves(page)

        for file in sorted(run.glob("score-*.json")):
            kill(file)
            moves(page)

        expect(page.locator("[data-is=trouble]")).to_be_hidden(timeout=HEALED_MS)
        shown = sequences(page)
        assert shown == list(range(shown[0], shown[0] - len(shown), -1))
        said = ends()
        client.end()
        browser.close()
    assert said.count("adds up") == 3
    assert client.dropped > 0
    assert client.resets == 0
    assert client.chains.changes > 0
    assert not client.chains.broken
    say(
        f"gateway killed, page healed after {healed_seconds:.1f} s; {client.chains.changes:,} changes streamed, "
        f"{client.dropped} connections dropped or refused, broken chains: {len(client.chains.broken)}"
    )
