"""The pages in a real browser, on a real installation."""

import re
import time
from typing import Final

import httpx
import pytest
from playwright.sync_api import Page, expect

from schemas.incident import Incident, Slice
from schemas.times import format_ms
from tests.pages.conftest import WIDTHS, Look, Site

PATHS: Final = ("/", "/people/ada", "/operate")
LIVE: Final = '[data-is="live"][data-state="live"]'
RECONNECTING: Final = '[data-is="live"][data-state="reconnecting"]'
BYTES_MAX: Final = 200_000
INCIDENT_SECONDS_MAX: Final = 2.0
STOPS_MAX: Final = 80
LEVEL: Final = "All 2 run; nothing is unread."
SETTLED_MS: Final = 20_000


def part(page: Page, name: str) -> str:
    return page.locator(f'[data-is="{name}"]').first.inner_text()


def sequences(page: Page) -> list[int]:
    """Return the numbers of the changes that a page shows, all of the same moment."""
    shown: list[int] = page.locator("[data-is=changes] li").evaluate_all(
        "of => of.map(li => Number(li.dataset.sequence))"
    )
    return shown


def incident(**more: object) -> Incident:
    now = format_ms(int(time.time() * 1000))
    facts: dict[str, object] = {
        "id": "declared/pages",
        "kind": "declared",
        "slice": Slice(network="twitter"),
        "severity": "major",
        "status": "investigating",
        "title": "twitter brings numbers that cannot be right",
        "opened": now,
        "updated": now,
        "affected_users": 3,
        "evidence": [],
    }
    return Incident(**(facts | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_small_and_loads_nothing_from_elsewhere_and_nothing_goes_wrong(
    look: Look, site: Site, path: str
) -> None:
    page, seen = look(path)
    page.wait_for_selector(LIVE)
    page.wait_for_timeout(1_000)
    assert seen.errors == []
    assert {url for url in seen.requests if not url.startswith(f"{site.url}/")} == set()
    assert 0 < seen.bytes < BYTES_MAX
    assert page.locator("h1").count() == 1


def test_a_page_lets_a_browser_load_from_the_gateway_alone(site: Site) -> None:
    for path in PATHS:
        answer = httpx.get(f"{site.url}{path}")
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=", answer.text)


def test_a_score_moves_on_its_page_when_an_event_comes_in(look: Look, site: Site) -> None:
    page, seen = look("/people/ada")
    page.wait_for_selector(LIVE)
    page.wait_for_selector("[data-is=changes] li")
    before, place = part(page, "score"), page.evaluate("window.here = performance.timeOrigin")
    site.act(("newcomer-1", "ada"), ("newcomer-2", "ada"))
    expect(page.locator("[data-is=score]")).not_to_have_text(before)
    now = site.score("ada")
    expect(page.locator("[data-is=score]")).to_have_text(f"{now['score']:.1f}")
    expect(page.locator("[data-is=changes] li").first).to_contain_text("Most from")
    assert page.evaluate("window.here") == place
    assert seen.errors == []


def test_a_dropped_connection_heals_and_no_change_is_missed(look: Look, site: Site) -> None:
    page, _ = look("/people/bo")
    page.wait_for_selector(LIVE)
    page.wait_for_selector("[data-is=changes] li")
    site.gateway.kill()
    page.wait_for_selector(RECONNECTING)
    expect(page.locator("[data-is=trouble]")).to_contain_text("cannot be reached")
    site.gateway.start().wait_until_ready()
    for at in range(3):
        site.act((f"late-{at}", "bo"))
        page.wait_for_timeout(200)
    page.wait_for_selector(LIVE)
    page.wait_for_timeout(500)
    newest = site.score("bo")
    expect(page.locator("[data-is=sequence]")).to_have_text(str(newest["sequence"]))
    expect(page.locator("[data-is=score]")).to_have_text(f"{newest['score']:.1f}")
    expect(page.locator("[data-is=trouble]")).to_be_hidden()
    shown = sequences(page)
    assert shown == list(range(newest["sequence"], newest["sequence"] - len(shown), -1))


def test_an_incident_shows_within_two_seconds_and_so_does_its_end(look: Look, site: Site) -> None:
    page, seen = look("/operate")
    page.wait_for_selector(LIVE)
    for status in ("investigating", "resolved"):
        site.tell(incident(status=status))
        began = time.monotonic()
        page.get_by_text(status, exact=True).first.wait_for()
        assert time.monotonic() - began < INCIDENT_SECONDS_MAX
        page.get_by_role("heading", name="twitter brings numbers that cannot be right").wait_for()
    assert seen.errors == []


def test_operators_freeze_and_resume_a_network(look: Look) -> None:
    page, seen = look("/operate")
    feed = page.locator("article.feed", has_text="mastodon")
    for button, shown in (("Freeze", "frozen"), ("Resume", "")):
        feed.get_by_label("Reason").fill("a test of this page")
        feed.get_by_role("button", name=button).click()
        expect(feed.locator("[data-is=frozen]")).to_have_text(shown)
    assert seen.errors == []


def test_an_incident_is_resolved_by_who_types_why(look: Look, site: Site) -> None:
    site.tell(incident(id="feed_stalled/pages", status="identified", title="twitter brings nothing"))
    page, seen = look("/operate")
    shown = page.locator("li.incident", has_text="twitter brings nothing")
    shown.get_by_label("Note").fill("a test of this page")
    shown.get_by_role("button", name="Resolve").click()
    expect(shown.locator(".told")).to_contain_text("Ordered")
    assert seen.errors == []


def test_where_a_key_is_needed_a_page_tells_nothing_without_one_and_keeps_it_for_its_tab(
    look: Look, site: Site, locked: str
) -> None:
    made = site.installation.run("key", "create", "pages", "--scope", "read", "--scope", "stream")
    key = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    page, _ = look(f"{locked}/people/ada")
    expect(page.locator("[data-is=trouble]")).to_contain_text("An API key is needed")
    expect(page.locator("[data-is=trouble]")).to_have_text(re.compile(r"^[^.]*\. Type one at the foot of this page\.$"))
    expect(page.locator("main")).to_be_hidden()
    assert part(page, "score") == ""
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector(LIVE)
    expect(page.locator("[data-is=score]")).to_have_text(f"{site.score('ada')['score']:.1f}")
    expect(page.locator("[data-is=trouble]")).to_be_hidden()
    page.goto(f"{locked}/operate")
    expect(page.locator(".feed").first).to_contain_text("Clock")
    expect(page.get_by_role("button", name="Freeze")).to_be_hidden()
    page.get_by_text("API key in use").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("[data-is=trouble]")).to_contain_text("An API key is needed")


def test_search_finds_people_as_one_types(look: Look) -> None:
    page, seen = look("/")
    page.get_by_label("Find somebody").press_sequentially("a")
    expect(page.locator("[data-is=found] .who")).to_have_text(["a/ü", "ada"])
    page.get_by_label("Find somebody").fill("nobody-has-this")
    expect(page.locator("[data-is=found-count]")).to_contain_text("Nobody's id begins with")
    page.get_by_label("Find somebody").fill("a/")
    page.locator("[data-is=found] a").click()
    expect(page.locator("h1")).to_have_text("a/ü")
    page.wait_for_selector(LIVE)
    assert seen.errors == []


def test_the_front_page_shows_who_stands_highest_and_what_happens(look: Look, site: Site) -> None:
    page, seen = look("/")
    page.wait_for_selector(LIVE)
    expect(page.locator("[data-is=tops] tr").first).to_contain_text("ada")
    site.act(("onlooker", "ada"))
    expect(page.locator("[data-is=ticker] li").first).to_contain_text("ada")
    page.get_by_label("by", exact=True).select_option("reach")
    expect(page.locator("[data-is=tops] tr").first).to_contain_text("ada")
    assert seen.errors == []


def test_a_page_that_is_opened_from_elsewhere_tells_nothing_by_itself(site: Site) -> None:
    score = f"{site.score('ada')['score']:.1f}"
    assert score in httpx.get(f"{site.url}/people/ada").text
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Host": "elsewhere.example"}):
        answer = httpx.get(f"{site.url}/people/ada", headers=headers)
        assert answer.status_code == 200
        assert score not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_a_keyboard_reaches_everything_and_is_held_nowhere(look: Look, path: str) -> None:
    page, _ = look(path)
    page.wait_for_selector(LIVE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached, wanted = [], page.locator("main button:enabled:visible, main input:visible, main select:visible").count()
    for _ in range(STOPS_MAX):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.tagName")
        if name == "BODY":
            break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        reached.append(name)
    else:
        pytest.fail(f"the keyboard did not come to the end: {reached}")
    assert sum(name in {"BUTTON", "INPUT", "SELECT"} for name in reached) >= wanted
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("path", [*PATHS, "/people/nobody-has-this"])
def test_a_page_is_as_wide_as_the_window(look: Look, path: str) -> None:
    page, _ = look(path)
    page.wait_for_selector("main h1")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_who_is_unknown_is_told_so_and_never_has_a_score(look: Look, site: Site) -> None:
    assert httpx.get(f"{site.url}/people/nobody-has-this").status_code == 404
    page, _ = look("/people/nobody-has-this")
    expect(page.locator("main")).to_contain_text("This user is unknown")
    assert page.locator("[data-is=score]").count() == 0


def test_an_address_of_nothing_is_told_so_on_a_page_to_people_and_as_a_problem_to_programs(
    look: Look, site: Site
) -> None:
    page, _ = look("/nothing/here")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing at this address")
    page.get_by_role("link", name="Look for somebody else").click()
    expect(page).to_have_url(f"{site.url}/")
    browsers = {"accept": "text/html,*/*;q=0.8"}
    for path, headers in (("/nothing/here", {}), ("/v1/nothing", browsers)):
        answer = httpx.get(f"{site.url}{path}", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems#not-found")


def test_operators_see_how_far_workers_are_and_what_waits_for_one_that_hangs(look: Look, site: Site) -> None:
    page, seen = look("/operate")
    says, rows = page.locator("[data-is=partitions-say]"), page.locator("[data-is=partitions] tr")
    expect(says).to_have_text(LEVEL, timeout=SETTLED_MS)
    worker = next(role for role in site.installation.roles if role.name == "score-0")
    worker.freeze()
    try:
        expect(says).to_contain_text("0 of 2 run")
        expect(rows.filter(has_text="no worker answers")).to_have_count(2)
        unread = [rows.nth(at).locator("td").nth(1) for at in range(2)]
        before = [cell.inner_text() for cell in unread]
        site.act(*((f"late-{at}", "bo") for at in range(50)))
        for cell, text in zip(unread, before, strict=True):
            expect(cell).not_to_have_text(text)
    finally:
        worker.thaw()
    expect(says).to_have_text(LEVEL, timeout=SETTLED_MS)
    assert seen.errors == []


def test_without_a_script_search_leads_to_a_page_that_has_the_score(look: Look, site: Site) -> None:
    page, _ = look("/", java_script_enabled=False)
    page.get_by_label("Find somebody").fill("ad")
    page.get_by_role("button", name="Go").click()
    page.locator("[data-is=found] a").click()
    assert part(page, "score") == f"{site.score('ada')['score']:.1f}"
    assert "people with a score" in part(page, "meaning")
    page.goto(f"{site.url}/?user=ada")
    assert page.url == f"{site.url}/people/ada"


def test_files_of_pages_are_kept_for_ever_and_are_small_on_the_way(site: Site) -> None:
    page = httpx.get(f"{site.url}/").text
    files = re.findall(r"/static/[\w.-]+", page)
    assert len(files) == 3
    for file in files:
        answer = httpx.get(f"{site.url}{file}")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        plain = httpx.get(f"{site.url}{file}", headers={"Accept-Encoding": "identity"})
        assert plain.content == answer.content
    assert httpx.get(f"{site.url}/static/other.js").status_code == 404
