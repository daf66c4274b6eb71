"""Drives the page of a running server in headless Chromium and looks at what it shows.

Input: the server's address, a photo, and a folder for screenshots. Output: a line for each thing that was checked, PNG files
(light, dark, phone), and exit status 1 if anything was wrong. Needs Chromium and the Python package websocket-client:

    python scripts/check_page.py http://127.0.0.1:8080 photo.jpg screenshots

CHROMIUM names another browser than `chromium`.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

WAIT_SECONDS = 60
# What is installed before the page's own script: a failed load or an exception must not go unseen.
WATCH = """
window.complaints = [];
addEventListener("error", (e) => complaints.push(String(e.message || "failed to load " + (e.target.src || e.target.href))), true);
addEventListener("unhandledrejection", (e) => complaints.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => complaints.push("policy: " + e.violatedDirective + " " + e.blockedURI));
window.requests = [];
const plainFetch = window.fetch;
window.fetch = (url, options = {}) => {
  requests.push({ url: String(url), method: options.method || "GET", headers: options.headers || {} });
  return window.offline ? Promise.reject(new TypeError("offline")) : plainFetch(url, options);
};
"""


class Browser:
    """A headless Chromium with one tab, spoken to through the DevTools protocol."""

    def __init__(self):
        self.profile = tempfile.mkdtemp()
        program = os.environ.get("CHROMIUM", "chromium")
        options = ["--headless=new", "--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run",
                   "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={self.profile}", "about:blank"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.insert(0, "--no-sandbox")
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(self.profile, "DevToolsActivePort")
        deadline = time.monotonic() + WAIT_SECONDS
        while not (port_file.exists() and port_file.read_text().strip()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"{program} did not start")
            time.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tabs = json.load(answer)
        tab = next(tab for tab in tabs if tab["type"] == "page")
        self.socket = websocket.create_connection(tab["webSocketDebuggerUrl"], timeout=WAIT_SECONDS)
        self.number = 0
        for domain in ("Page", "Runtime", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def value(self, expression):
        """What a JavaScript expression is, after a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression):
        """Waits until an expression is true; says whether it became so."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.value(expression):
                return True
            time.sleep(0.05)
        return False

    def open(self, url):
        self.call("Page.navigate", url=url)
        return self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def look(self, width, height, scheme="light", touch=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if touch else 1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def choose(self, *files):
        """Puts files into the chooser, as a person would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9, "ArrowRight": 39}[key])

    def screenshot(self, path):
        time.sleep(0.3)
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        print(f"     {path}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


class Checks:
    """Counts what is wrong."""

    def __init__(self):
        self.failed = 0

    def check(self, good, what):
        print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
        self.failed += not good


CARD = "document.querySelector('.card')"
STATE = f"({CARD} || {{dataset: {{}}}}).dataset.state"


def check_first_look(browser, checks, url, out):
    checks.check(browser.open(url), f"{url} opens")
    checks.check(browser.wait("document.querySelectorAll('#facts span').length >= 2"), "the model is described")
    checks.check(not browser.value("document.querySelector('#facts .failed')"), browser.value("document.getElementById('facts').innerText"))
    model = browser.value("fetch('model').then((answer) => answer.json())")
    count = len(model["classes"])
    checks.check(f"{count} classes" in browser.value("document.getElementById('facts').innerText"), f"{count} classes are named")
    browser.wait("[...document.images].every((image) => image.complete)")
    browser.screenshot(out / "empty-light.png")
    return model


def check_answer(browser, checks, photo, model):
    count = len(model["classes"])
    browser.choose(photo)
    checks.check(browser.wait(f"{STATE} === 'done'"), "the photo is answered")
    if browser.value(STATE) != "done":
        return
    sent = browser.value("requests.find((request) => request.method === 'POST')")
    headers = {name.lower(): value for name, value in sent["headers"].items()}
    checks.check(headers.get("accept") == "application/json; verbose=1", "the verbose answer is asked for")
    checks.check(headers.get("content-type", "").startswith(("image/", "application/octet-stream")), f"sent as {headers.get('content-type')}")
    title = browser.value(f"{CARD}.querySelector('.best h2').innerText")
    checks.check(bool(title) and "_" not in title, f"best class in words: {title}")
    whole = browser.value(f"{CARD}.querySelector('.best h2').title")
    checks.check(whole in model["classes"], f"it is the model's class {whole}")
    checks.check("%" in browser.value(f"{CARD}.querySelector('.best .percent').innerText"), "with percent")
    bars = browser.value(f"{CARD}.querySelectorAll('.bars li').length")
    checks.check(bars == min(5, count), f"{bars} bars")
    widths = browser.value(f"[...{CARD}.querySelectorAll('.track i')].map((bar) => parseFloat(bar.style.width))")
    checks.check(widths == sorted(widths, reverse=True) and widths[0] > 0, "longest bar first")
    checks.check("Answered in" in browser.value(f"{CARD}.querySelector('.meta').innerText"), browser.value(f"{CARD}.querySelector('.meta').innerText"))
    ranks = browser.value(f"{CARD}.querySelector('.plot .all').getAttribute('d').split('M').length - 1")
    checks.check(ranks == count, f"{ranks} classes are plotted")
    # Browsers show no TIFF; the page says so in its place.
    seen = f"{CARD}.querySelector('.photo img')?.naturalWidth > 0" if photo.suffix.lower() not in (".tif", ".tiff") else f"{CARD}.querySelector('.photo .unseen') !== null"
    checks.check(browser.wait(seen), "the photo, or a word in its place, is shown")
    if model.get("examples"):
        checks.check(browser.wait(f"(() => {{ const all = [...{CARD}.querySelectorAll('.members img')]; return all.length > 0 && all.every((i) => i.naturalWidth > 0) }})()"), "example photos are shown")


def check_chart(browser, checks, model):
    browser.value(f"{CARD}.querySelector('.plot').scrollIntoView({{block: 'center'}})")
    box = browser.value(f"(() => {{ const b = {CARD}.querySelector('.plot').getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }})()")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 1, y=box[1] + box[3] / 2)
    name = browser.value(f"{CARD}.querySelector('.under bdi')?.title")
    checks.check(name == browser.value(f"{CARD}.querySelector('.best h2').title"), f"pointing at the first bar names {name}")
    browser.value(f"{CARD}.querySelector('.plot').focus()")
    browser.press("ArrowRight")
    said = browser.value(f"{CARD}.querySelector('.plot').getAttribute('aria-valuetext')")
    checks.check(browser.value(f"{CARD}.querySelector('.plot').getAttribute('aria-valuenow')") == "2", f"the arrow key goes on to {said}")
    before = browser.value(f"{CARD}.querySelector('.plot .all').getAttribute('d')")
    browser.value(f"{CARD}.querySelector('.log').click()")
    checks.check(before != browser.value(f"{CARD}.querySelector('.plot .all').getAttribute('d')"), "the log scale draws anew")
    browser.value(f"{CARD}.querySelector('.log').click(); document.activeElement.blur(); scrollTo(0, 0)")


def check_looks(browser, checks, out):
    browser.screenshot(out / "answer-light.png")
    browser.look(1280, 900, "dark")
    browser.screenshot(out / "answer-dark.png")
    for scheme in ("light", "dark"):
        browser.look(390, 844, scheme, touch=True)
        overflow = browser.value("document.documentElement.scrollWidth - innerWidth")
        checks.check(overflow <= 0, f"nothing sticks out on a phone ({scheme}: {overflow})")
        browser.screenshot(out / f"answer-phone-{scheme}.png")
    browser.look(1280, 900)


def check_errors(browser, checks, photo, folder, out):
    broken = folder / "broken.jpg"
    broken.write_bytes(b"this is no photo")
    browser.choose(broken)
    checks.check(browser.wait(f"{STATE} === 'failed'"), "a broken photo fails")
    said = browser.value(f"{CARD}.querySelector('.failure p')?.innerText")
    checks.check(bool(said), f"the server's words are shown: {said}")
    note = folder / "note.txt"
    note.write_text("text")
    browser.choose(note)
    checks.check(browser.wait(f"{CARD}.querySelector('.photo .name').innerText === 'note.txt' && {STATE} === 'failed'"), "a text file fails")
    browser.value("window.offline = true")
    browser.choose(photo)
    checks.check(browser.wait(f"{CARD}.querySelector('.failure button') !== null && {STATE} === 'failed'"), "a server that is gone is told, with a way to try again")
    browser.screenshot(out / "errors-light.png")
    browser.value(f"window.offline = false; {CARD}.querySelector('.failure button').click()")
    checks.check(browser.wait(f"{STATE} === 'done'"), "trying again works")


def check_more_ways(browser, checks, photo, model, out):
    browser.value("document.getElementById('clear').click()")
    checks.check(browser.value("document.querySelectorAll('.card').length") == 0, "all photos can be removed")
    browser.choose(photo, photo, photo)
    checks.check(browser.wait("document.querySelectorAll('.card[data-state=done]').length === 3"), "three photos at once are answered")
    browser.value("document.getElementById('clear').click()")
    encoded = base64.b64encode(photo.read_bytes()).decode()
    for event, field in (("paste", "ClipboardEvent('paste', {clipboardData: data, bubbles: true})"), ("drop", "DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})")):
        browser.value(f"""(() => {{
            const bytes = Uint8Array.from(atob('{encoded}'), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], '{event}.jpg', {{type: 'image/jpeg'}}));
            document.body.dispatchEvent(new {field});
        }})()""")
        checks.check(browser.wait(f"{STATE} === 'done' && {CARD}.querySelector('.photo .name').innerText === '{event}.jpg'"), f"a photo comes in by {event}")
    browser.value("document.getElementById('clear').click()")
    if model.get("examples"):
        browser.value("document.querySelector('#samples button').click()")
        checks.check(browser.wait(f"{STATE} === 'done'"), "an example of the model can be tried")
    browser.value("document.getElementById('clear').click()")
    browser.look(390, 844, "light", touch=True)
    browser.screenshot(out / "empty-phone-light.png")
    browser.look(1280, 900, "dark")
    browser.screenshot(out / "empty-dark.png")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    url, photo, out = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    browser, checks = Browser(), Checks()
    try:
        browser.look(1280, 900)
        model = check_first_look(browser, checks, url, out)
        check_answer(browser, checks, photo, model)
        if browser.value(STATE) == "done":
            check_chart(browser, checks, model)
            check_looks(browser, checks, out)
            with tempfile.TemporaryDirectory() as folder:
                check_errors(browser, checks, photo, pathlib.Path(folder), out)
            check_more_ways(browser, checks, photo, model, out)
        complaints = browser.value("complaints")
        # The preview of the broken photo has to fail, which the page handles.
        complaints = [text for text in complaints if "blob:" not in text]
        checks.check(not complaints, f"no errors in the page {complaints or ''}")
        for request in browser.value("requests"):
            if not request["url"].startswith((url.rstrip("/"), "model", "/")):
                checks.check(False, f"a request to elsewhere: {request['url']}")
    finally:
        browser.close()
    print(f"{checks.failed} wrong" if checks.failed else "all is well")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
