"""The page of a study in a browser: what a reader does with it, and that nothing in it can run or be fetched."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from scipy.special import stdtr, stdtrit

from tests.report.studies import CLAIM, TABLE, ZERO, hostile, made, study
from trajtune.report.page import page as module
from trajtune.report.page.data import page_data
from trajtune.report.page.page import page, write_page
from trajtune.report.scores import differences
from trajtune.report.uncertainty import mean_of
from trajtune.study.results import Result

SFT, ZERO_ID = "point/medium-5-dense/sft-full", "point/medium-5-dense/zero-shot-none-best"
WORDS = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">'
CHARTS = ".plot .main-svg"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, as it stands on the machine: nothing is fetched to drive it."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open the page of some results; afterwards, nothing was complained of and nothing but the file was asked for."""
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    path = tmp_path / "page.html"

    def open_page(results: list[Result], place: str = "", width: int = 1280, **given: Any) -> Any:
        write_page(path, page_data(results, **given))
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(f"{path.as_uri()}{place}")
        return browser

    yield open_page
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert {url.partition("#")[0] for url in sent} - {"about:blank"} == {path.as_uri()}


def wait(browser: Any, condition: str, *given: Any) -> Any:
    """Return the value of an expression once it is something."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 20, 0.05).until(lambda b: b.execute_script(f"return {condition}", *given))


def rows(browser: Any) -> list[str]:
    """The names of the cells in the table, from above."""
    script = "return [...document.querySelectorAll('#table .tabulator-row a')].map(each => each.textContent)"
    return list(browser.execute_script(script))


def press(browser: Any, selector: str, key: str) -> None:
    """Press a key where the focus is put by hand."""
    from selenium.webdriver.common.action_chains import ActionChains

    browser.execute_script("document.querySelector(arguments[0]).focus()", selector)
    ActionChains(browser).send_keys(key).perform()


def test_all_is_drawn(shown: Callable[..., Any]) -> None:
    browser = shown(study(), claims=[CLAIM], tables=[TABLE])
    wait(browser, "document.querySelectorAll(arguments[0]).length >= 4", CHARTS)
    assert len(rows(browser)) == 5
    text = browser.execute_script("return document.body.innerText")
    for words in ("5 of 5 cells", "sft gains", "+0.250", "[+0.125, +0.375]", "A note.", "0.50 ± 0.10 (1 diverged)"):
        assert words in text
    assert "▲ better" in text and "▼ worse" in text
    unlabelled = "return [...document.querySelectorAll('input, select')].filter(each => !each.labels.length).length"
    assert browser.execute_script(unlabelled) == 0


def test_headings_sort_by_click_and_by_key(shown: Callable[..., Any]) -> None:
    browser = shown(study())
    heading = '#table .tabulator-col[tabulator-field="gain"]'
    wait(browser, "document.querySelector(arguments[0])?.tabIndex === 0", heading)
    press(browser, heading, "\ue007")
    assert rows(browser)[0] == "sft x full" and "zero-shot" in rows(browser)[-1]  # what has no gain is last
    browser.execute_script("document.querySelector(arguments[0]).click()", heading)
    assert rows(browser)[0] == "dpo x full" and "zero-shot" in rows(browser)[-1]


def test_figures_answer_to_the_filter(shown: Callable[..., Any]) -> None:
    browser = shown(study())
    wait(browser, "document.querySelectorAll(arguments[0]).length >= 4", CHARTS)
    browser.find_element("id", "filter-text").send_keys("ppo high")
    wait(browser, "document.getElementById('count').textContent.startsWith('1 of')")
    assert rows(browser) == ["ppo (high) x full"]
    ticks = "[...document.querySelectorAll('#gain-charts .ytick')].map(each => each.textContent).join('|')"
    assert wait(browser, ticks) == "ppo (high) x full"
    browser.find_element("css selector", "#filters button").click()
    wait(browser, "document.getElementById('count').textContent.startsWith('5 of')")
    browser.find_element("css selector", "#filter-algorithm option[value=sft]").click()
    wait(browser, "document.getElementById('count').textContent.startsWith('1 of')")
    assert rows(browser) == ["sft x full"]


def test_enter_opens_a_cell_and_its_address_does(shown: Callable[..., Any]) -> None:
    browser = shown(study(), videos={SFT: ["videos/sft.mp4"]})
    row = f'#table [data-id="{SFT}"]'
    wait(browser, "document.querySelector(arguments[0])", row)
    press(browser, row, "\ue007")
    assert wait(browser, "location.hash") == f"#cell={SFT}"
    text = wait(browser, "document.getElementById('cell').innerText")
    for words in ("sft x full", "trajtune finetune --agent AGENT", "few-3-1", "A processor", "torch 2.13.0", "goal 2"):
        assert words in text
    assert "steps" in text and browser.find_elements("css selector", "#cell .main-svg")
    assert browser.find_element("css selector", "#cell li a").get_attribute("href").endswith("/videos/sft.mp4")
    browser.find_element("id", "back").click()
    assert wait(browser, "document.activeElement.dataset.id") == SFT
    browser.get("about:blank")
    shown(study(), f"#cell={SFT}")
    assert wait(browser, "document.activeElement.id") == "cell-title"


@pytest.mark.parametrize(
    ("tasks", "seeds", "over"), [((1, 2, 3), (0, 1), "tasks"), ((1, 2), (0, 1, 2), "seeds"), ((1,), (0,), "episodes")]
)
def test_a_comparison_has_the_numbers_of_the_report(
    shown: Callable[..., Any], tasks: tuple[int, ...], seeds: tuple[int, ...], over: str
) -> None:
    results = study(tasks, seeds)
    sft, zero = ([r for r in results if r.run.algorithm == name] for name in ("sft", ZERO))
    wanted = mean_of([differences(sft, zero, "normalised")])
    assert wanted.over == over and wanted.interval is not None
    browser = shown(results, f"#compare={SFT}&{ZERO_ID}")
    value = {name: f"JSON.parse(document.getElementById('{name}').dataset.value)" for name in NAMES}
    wait(browser, f"document.getElementById('first').value === '{SFT}' && document.getElementById('{NAMES[0]}')")
    found = [browser.execute_script(f"return {each}") for each in value.values()]
    assert found[0] == pytest.approx(wanted.mean, abs=1e-6)
    assert found[1] == pytest.approx(wanted.interval, abs=1e-5)
    assert found[2] == pytest.approx(wanted.p, rel=1e-3, abs=1e-9)
    assert f"it speaks of other {over}" in browser.find_element("id", "comparison").text
    wait(browser, "document.querySelectorAll('#scatter .main-svg, #histogram .main-svg').length >= 2")


NAMES = ("difference", "difference-interval", "difference-p")


def test_what_are_no_pairs_is_not_compared(shown: Callable[..., Any]) -> None:
    results = [*study((1,), (0,)), made("sft", 2, tuning="prompt")]
    browser = shown(results, f"#compare={SFT.replace('full', 'prompt')}&{ZERO_ID}")
    assert wait(browser, "document.querySelector('#comparison .note')?.textContent") == (
        "They have no task and seed in common."
    )


def test_two_units_stand_apart(shown: Callable[..., Any]) -> None:
    """Of an environment whose references nobody knows, returns are told."""
    bare = [replace(r, entry="bare", references={}, normalised=None) for r in study()]
    browser = shown([*study(), *bare], f"#compare={SFT}&{SFT.replace('point', 'bare', 1)}")
    words = "One is told as normalised score, the other as return."
    assert wait(browser, "document.querySelector('#comparison .note')?.textContent") == words
    wait(browser, "document.querySelectorAll(arguments[0]).length >= 4", CHARTS)
    titles = "return [...document.querySelectorAll('#gain-charts .xtitle')].map(each => each.textContent)"
    assert browser.execute_script(titles) == ["gain, normalised score", "gain, return"]


def test_without_single_episodes_runs_are_compared(shown: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    results = study()
    monkeypatch.setattr(module, "LIMIT", len(page(page_data(results)).encode()))
    browser = shown(results, f"#compare={SFT}&{ZERO_ID}")
    wanted = mean_of([differences(results[6:12], results[:6], "normalised")])
    assert "6 pairs of runs" in wait(browser, "document.getElementById('comparison').innerText")
    assert "Left out, to keep this page small: single episodes." in browser.find_element("id", "omitted").text
    ends = browser.execute_script("return JSON.parse(document.getElementById('difference-interval').dataset.value)")
    assert ends == pytest.approx(wanted.interval, abs=1e-5)


def test_student_t_is_scipy_s(shown: Callable[..., Any]) -> None:
    browser = shown(study())
    numbers = files("trajtune.report.page").joinpath("numbers.js").read_text("utf-8")
    for freedom in (1.0, 2.0, 2.7, 4.0, 14.0, 149.0, 1e4):
        reach, far = browser.execute_script(f"{numbers}; return [reachOf(0.05, {freedom}), beyond(1.3, {freedom})]")
        assert reach == pytest.approx(stdtrit(freedom, 0.975), rel=1e-9)
        assert far == pytest.approx(2 * stdtr(freedom, -1.3), rel=1e-9)


LINK, LOUD = '<a href="javascript:window.hacked=4">x</a>', "<b>loud</b>"  # the last is one of Plotly's own


@pytest.mark.parametrize("words", [WORDS, '"><svg onload=window.hacked=3>', LINK, LOUD])
def test_a_hostile_label_is_shown_and_runs_nothing(shown: Callable[..., Any], words: str) -> None:
    claims = [{**CLAIM, **{name: words for name in ("statement", "source", "verdict", "detail")}}]
    browser = shown(hostile(words), claims=claims)
    wait(browser, "document.querySelectorAll(arguments[0]).length >= 4", CHARTS)
    text = browser.execute_script("return document.body.textContent")
    assert text.count(words) > 10
    assert any(words in name for name in rows(browser))
    ticks = browser.execute_script("return [...document.querySelectorAll('.ytick')].map(each => each.textContent)")
    assert any(words[:12] in tick for tick in ticks)  # in Plotly's own pseudo-HTML, too
    browser.execute_script("document.querySelector('#table [data-id*=sft]').click()")
    wait(browser, "!document.getElementById('cell').hidden")
    assert words in browser.find_element("id", "cell-title").text
    assert browser.execute_script("return window.hacked") is None
    odd = "return document.querySelectorAll('img, svg[onload], a[href^=\"javascript\"]').length"
    assert browser.execute_script(odd) == 0


@pytest.mark.parametrize("place", ["", f"#cell={SFT}"])
def test_a_phone_scrolls_down_only(shown: Callable[..., Any], place: str) -> None:
    browser = shown(study(), place, width=390, claims=[CLAIM], tables=[TABLE])
    wait(browser, "document.querySelectorAll(arguments[0]).length >= 1", CHARTS)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
