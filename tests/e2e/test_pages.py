"""Pages as people see them, in a real browser; the pictures are kept below ``artefacts/`` for a look."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from fstore.stack.servers.ports import choose_port
from fstore.upkeep import api as upkeep
from tests.conftest import REPOSITORY, House, stop_group
from tests.waiting import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ARTEFACTS = REPOSITORY / "artefacts"
AUTH = "fstore:only-for-this-test"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
SLOW = "tests.sample_features:slow"

needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and its driver are not installed")


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, url: str, *, width: int = 1280, dark: bool = False) -> None:
    """Open a page in a window as high as the page."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(url)
    size["height"] = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def picture(browser: webdriver.Chrome, name: str) -> None:
    """Keep a picture of the page."""
    ARTEFACTS.mkdir(exist_ok=True)
    browser.save_screenshot(str(ARTEFACTS / f"{name}.png"))


def command(house: House, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """Start Celery on a house's servers."""
    environment = {**os.environ, **house.environment, **more, "PYTHONPATH": str(REPOSITORY)}
    with (house.root.parent / f"{arguments[2]}.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", *arguments], env=environment, cwd=house.root.parent, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def flower(house: House) -> Iterator[str]:
    """Flower as operations run it; gives its address without the password."""
    port = choose_port(f"{house.root}flower")
    given = {"FEATURE_STORE_FLOWER_AUTH": AUTH, "FLOWER_PORT": str(port), "FLOWER_ADDRESS": "127.0.0.1"}
    process = command(house, "-A", "workers.app", "flower", f"--conf={REPOSITORY / 'ops' / 'flowerconfig.py'}", **given)
    place = f"127.0.0.1:{port}"
    try:
        eventually(lambda: status_of(f"http://{place}/healthcheck") == 200, seconds=60, what="Flower")
        yield place
    finally:
        stop_group(process)


def status_of(url: str, *, method: str = "GET") -> int:
    """Return the status of a call; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:  # noqa: S310 loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def rows(browser: webdriver.Chrome) -> list[str]:
    """Return the texts of the shown table's rows."""
    # In one step: the page replaces its rows while it refreshes.
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('table tbody tr')].map(row => row.innerText)"
    )
    return found


def href(browser: webdriver.Chrome, selector: str) -> str:
    """Return where a link leads; in one step, as ``rows``."""
    found: str = browser.execute_script("return document.querySelector(arguments[0])?.href || ''", selector)
    return found


def search(browser: webdriver.Chrome, place: str, words: str, *, shown: str) -> list[str]:
    """Search Flower's tasks until every row that remains shows a text, and return the rows."""
    browser.get(f"http://{AUTH}@{place}/tasks")
    box = eventually(lambda: browser.find_elements(By.CSS_SELECTOR, "input[type=search]"), seconds=10, what="the box")
    box[0].send_keys(Keys.CONTROL, "a")  # Flower remembers the last search
    box[0].send_keys(words)
    return eventually(
        lambda: found if (found := rows(browser)) and all(shown in row for row in found) else [],
        seconds=15,
        what=f"tasks that are found by {words}",
    )


@needs_browser
def test_flower_shows_who_works_on_what(house: House, flower: str, browser: webdriver.Chrome) -> None:
    """After a login one sees the workers, a running task in its phase, and finds a finished one with its result by its symbol."""
    house.start(concurrency=2, queues="fstore.compute")
    raw = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
    house.store.get_or_compute("AAPL", raw, {"factor": 2}, "tests.sample_features:scaled", timeout=60)
    house.store.get_or_compute("MSFT", raw, {"factor": 2}, "tests.sample_features:scaled", timeout=60)
    running = house.store.submit("TSLA", raw, {"seconds": 60.0}, SLOW)
    eventually(lambda: running.status() == "running", seconds=30, what="the slow task to run")

    browser.get(f"http://{flower}/")
    assert "fstore.get_or_compute" not in browser.page_source  # no password, no tasks

    show(browser, f"http://{AUTH}@{flower}/workers")
    worker = eventually(lambda: [row for row in rows(browser) if "@" in row], seconds=20, what="the worker")
    assert len(worker) == 1
    picture(browser, "flower-workers")
    link = eventually(lambda: href(browser, "table tbody a"), seconds=20, what="its link")
    path = link.partition(flower)[2]
    assert status_of(f"http://{flower}{path}") == 401
    show(browser, f"http://{AUTH}@{flower}{path}")  # what a click on it opens
    about = eventually(
        lambda: text if "prefork" in (text := browser.page_source) else "", seconds=20, what="its statistics"
    )
    assert "Unable to get stats" not in about
    picture(browser, "flower-worker")

    found = search(browser, flower, "kwargs:symbol=MSFT", shown="SUCCESS")  # its event may come a moment later
    assert len(found) == 1
    assert "MSFT" in found[0]
    assert "'symbol': 'MSFT'" in found[0]
    assert "'status': 'computed'" in found[0]
    picture(browser, "flower-found-by-symbol")

    at_work = search(browser, flower, "state:COMPUTING", shown="COMPUTING")
    assert len(at_work) == 1
    assert "'symbol': 'TSLA'" in at_work[0]
    picture(browser, "flower-phase")

    browser.get(
        eventually(lambda: href(browser, "table tbody tr a[href*='/task/']"), seconds=10, what="the task's link")
    )
    eventually(lambda: "TSLA" in browser.page_source, seconds=10, what="the task's page")
    assert "COMPUTING" in browser.page_source
    picture(browser, "flower-task")


def test_flower_is_closed_and_read_only(house: House, flower: str) -> None:
    """Without the password everything but the health check is refused, and with it nothing can be changed."""
    assert {status_of(f"http://{flower}/{page}") for page in ("", "workers", "tasks", "api/workers", "api/tasks")} == {
        401
    }
    login = {"Authorization": "Basic " + base64.b64encode(AUTH.encode()).decode()}
    for path in ("api/worker/shutdown/any@where", "api/task/async-apply/fstore.collect_garbage"):
        request = urllib.request.Request(f"http://{flower}/{path}", data=b"{}", method="POST", headers=login)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=5)  # noqa: S310 loopback
        refused.value.close()
        assert refused.value.code == 403


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "needs a login"),
        ({"FEATURE_STORE_FLOWER_AUTH": "fstore:short"}, "12"),
        ({"FEATURE_STORE_FLOWER_AUTH": AUTH, "FLOWER_UNAUTHENTICATED_API": "true"}, "FLOWER_UNAUTHENTICATED_API"),
    ],
)
def test_flower_refuses_to_start_open(house: House, given: dict[str, str], told: str) -> None:
    """Without a real password, or with the API open to all, Flower ends and says what to set."""
    process = command(house, "-A", "workers.app", "flower", f"--conf={REPOSITORY / 'ops' / 'flowerconfig.py'}", **given)
    try:
        assert process.wait(60) != 0
    finally:
        stop_group(process)
    assert told in (house.root.parent / "flower.log").read_text()


@needs_browser
def test_report_page_is_readable_everywhere(house: House, browser: webdriver.Chrome, tmp_path: Path) -> None:
    """``fstore report --html`` makes a page that fits a phone and a screen, in light and dark, and asks the network for nothing."""
    house.start(concurrency=2, queues="fstore.compute")
    for n, symbol in enumerate(("AAPL", "MSFT", "NVDA", "<b>X</b>")):
        raw = pd.DataFrame({"price": range(100 * (n + 1))})
        for factor in range(3 - n % 2):
            for _ in range(4):
                house.store.get_or_compute(symbol, raw, {"factor": factor}, "tests.sample_features:scaled", timeout=60)
    house.store.resources.recorder.degraded("redis", "for the picture")
    upkeep.flush_usage(house.store.resources)
    upkeep.collect_garbage(house.store.resources)
    upkeep.sweep_integrity(house.store.resources)

    told = _report(house, tmp_path / "report.html")

    assert told["total"]["hits"] + told["total"]["misses"] == 40
    assert told["total"]["computed"] == 10
    assert told["degraded"][0]["mode"] == "redis"
    assert {run["kind"] for run in told["runs"]} == {"gc", "sweep"}
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        show(browser, (tmp_path / "report.html").as_uri(), width=width, dark=dark)
        picture(browser, f"report-{width}-{'dark' if dark else 'light'}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) is dark
        shown = browser.execute_script(
            "return [...document.querySelectorAll('figure svg')].filter(s => s.getBoundingClientRect().width)"
            ".map(s => Math.min(...[...s.querySelectorAll('text')].map(t => t.getBoundingClientRect().height)))"
        )
        assert len(shown) == 5
        assert min(shown) > 8  # text that was only scaled down for a phone would be 5 pixels high
    asked = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert asked == 0
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]


def _report(house: House, page: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "fstore.cli", "report", "--json", "--html", str(page), "--days", "2"],
        env={**os.environ, **house.environment, "PYTHONPATH": str(REPOSITORY)}, cwd=page.parent,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
