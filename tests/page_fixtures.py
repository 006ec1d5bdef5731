"""What the tests of HTML pages share: a strict reader of a page, and a real headless Chromium to open it in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""  # of everything inside


@dataclass
class Page(HTMLParser):
    """Elements of a page in order; fails on a tag that is not closed, crossed, or has an attribute twice."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (self.getpos(), tag, names)
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1].tag == tag, (self.getpos(), tag, [e.tag for e in self.open[-3:]])
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def named(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    @property
    def data(self) -> dict:
        (script,) = [e for e in self.named("script") if e.attributes.get("type") == "application/json"]
        return json.loads(script.text)


def read_page(html: str) -> Page:
    """A page that is well formed and loads nothing: no address but data, anchors and the page's own script."""
    page = Page()
    page.feed(html)
    page.close()
    assert not page.open, page.open
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    for element in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data", "background"):
            address = element.attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (element.tag, address[:80])
        if (address := element.attributes.get("href", "")).startswith("#"):
            assert address[1:] in ids, address
    styles = " ".join(e.text for e in page.named("style")) + " ".join(
        e.attributes.get("style") or "" for e in page.elements
    )
    assert "url(" not in styles and "@import" not in styles
    return page


def at_path(data: object, path: str) -> object:
    """What stands in `data` at a path such as `evaluators.0.sets.1.mean.fid`."""
    for part in path.split("."):
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data


def check_numbers(page: Page) -> set[str]:
    """Every number of the page is the one at its path in the page's data, and is printed as such; the paths."""
    from vocalburst.eval.printing import show, show_interval, show_value
    from vocalburst.eval.scores import Measure

    paths, data = set(), page.data
    for element in page.elements:
        if "data-key" not in element.attributes:
            continue
        path = element.attributes["data-key"]
        there, text = at_path(data, path), " ".join(element.text.split())
        value = json.loads(element.attributes["data-value"])
        if isinstance(there, dict):
            measure = Measure.model_validate(there)
            assert value == measure.value, path
            shown = text.split(" ")[0]
            assert shown in (show_value(measure), show(measure.value)), (path, text)
            if "[" in text:
                assert text == f"{show_value(measure)} {show_interval(measure)}", path
        else:
            assert value == there, path
            assert text.startswith(str(there) if isinstance(there, int) else show(there)[:4]), (path, text)
        paths.add(path)
    return paths


class Browser:
    """Chromium with its console and network recorded."""

    def __init__(self, driver) -> None:
        self.driver = driver
        self.run = driver.execute_script

    def open(self, path: Path) -> None:
        self.log("browser"), self.log("performance")
        self.driver.get(path.as_uri())

    def log(self, kind: str) -> list[dict]:
        return self.driver.get_log(kind)

    def requests(self) -> list[str]:
        """Addresses that were asked for since `open`, but for data inside the page."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        addresses = [
            m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in addresses if not address.startswith("data:")]

    def emulate(self, width: int, *, dark: bool = False, media: str = "") -> None:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": scheme})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A headless Chromium with a new profile; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser (dev extra)")
    from selenium.webdriver.chrome.service import Service

    binary, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver_path):
        pytest.skip(
            "no chromium with chromedriver on this machine (apt-get install chromium chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
