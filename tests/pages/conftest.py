"""One installation with everything that a page needs, and a browser that looks at it."""

import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from clout.config import Settings
from clout.loopback import http
from clout.ports import free_port
from schemas.access import SCOPES
from schemas.incident import Incident, encode_incident
from schemas.times import format_ms
from streams import clients
from streams.settings import GatewaySettings, KafkaSettings, LaneSettings, NetworkSettings, WorkerSettings
from tests.roles import Installation, Role, eventually, start_together

CHROMIUM: Final = "/usr/bin/chromium"
WIDTHS: Final = (360, 1280)


@dataclass
class Site:
    """An installation whose gateway is always at the same address."""

    installation: Installation
    gateway: Role
    url: str
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def act(self, *pairs: tuple[str, str], kind: str = "share") -> None:
        """Let people act on others, by way of the gateway: each pair is who acts, and on whom."""
        now = format_ms(int(time.time() * 1000))
        events = [
            {"id": f"e{next(self._ids)}", "kind": kind, "actor": actor, "target": target, "time": now}
            for actor, target in pairs
        ]
        answer = http().post(f"{self.url}/v1/interactions", params={"network": "twitter"}, json=events, timeout=10)
        assert answer.status_code == 202, answer.text

    def score(self, user: str) -> dict[str, Any]:
        """Return what the gateway says of a user's score, as soon as it has one."""

        def has_score() -> bool:
            return http().get(f"{self.url}/v1/scores/{user}", timeout=10).is_success

        eventually(has_score, otherwise=self.gateway.log)
        answer: dict[str, Any] = http().get(f"{self.url}/v1/scores/{user}", timeout=10).json()
        return answer

    def tell(self, incident: Incident) -> None:
        """Write an incident as a worker or the guard does."""
        producer = clients.producer(self.installation.settings.kafka)
        producer.produce(self.installation.names.incidents, encode_incident(incident), incident.id.encode())
        assert producer.flush(10) == 0


@pytest.fixture(scope="module")
def site(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The installation, with a few people who have scores."""
    port = free_port("127.0.0.1")
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("pages"),
        kafka=KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-"),
        networks={"twitter": NetworkSettings(), "mastodon": NetworkSettings()},
        lanes=LaneSettings(partitions=2),
        worker=WorkerSettings(reasons_share=1.0),
        gateway=GatewaySettings(port=port, anonymous_scopes=SCOPES),
    )
    with Installation(settings) as installation:
        gateway = installation.role("gateway-0", ["serve"])
        start_together(installation.ingest(), installation.worker(), gateway)
        gateway.wait_until_ready()
        site = Site(installation, gateway, f"http://127.0.0.1:{port}")
        site.act(*((f"fan-{at}", user) for user, fans in (("ada", 9), ("bo", 4), ("a/ü", 2)) for at in range(fans)))
        site.score("ada")
        site.score("a%2F%C3%BC")
        yield site


@pytest.fixture
def locked(site: Site) -> Iterator[str]:
    """Where another gateway of the installation is, which answers nobody without a key."""
    settings = site.installation.settings.model_copy(update={"gateway": GatewaySettings(port=0)})
    gateway = site.installation._role("gateway-1", ["serve", "--slot", "1"], settings).start().wait_until_ready()
    yield f"http://{gateway.status()['public_address']}"
    gateway.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: Debian's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a browser saw while it looked at pages."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    bytes: int = 0

    def watch(self, page: Page) -> Page:
        """Note all that happens on a page."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfinished", self._loaded)
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.type}: {message.text}")

    def _loaded(self, request: Request) -> None:
        sizes = request.sizes()
        self.bytes += sizes["responseBodySize"] + sizes["responseHeadersSize"]


Look = Callable[..., tuple[Page, Seen]]


@pytest.fixture
def look(browser: Browser, site: Site) -> Iterator[Look]:
    """Opens pages: `look("/operate", width=360)` gives the page and what was seen of it."""
    with ExitStack() as stack:

        def open_page(path: str, *, width: int = 1280, **options: Any) -> tuple[Page, Seen]:
            context: BrowserContext = browser.new_context(viewport={"width": width, "height": 800}, **options)
            stack.callback(context.close)
            seen = Seen()
            page = seen.watch(context.new_page())
            page.set_default_timeout(10_000)
            page.goto(path if path.startswith("http") else f"{site.url}{path}")
            return page, seen

        yield open_page
