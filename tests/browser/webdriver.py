"""A real browser, driven over WebDriver's JSON with the standard library alone: https://www.w3.org/TR/webdriver2/."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
).split()
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014",
        "Down": "\ue015", "Home": "\ue011", "End": "\ue010", "Escape": "\ue00c"}  # fmt: skip
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business here


class Browser:
    """One session. `with Browser(folder) as browser: browser.open(path)`; `folder` is empty and becomes the profile."""

    def __init__(self, profile):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait()
            options = {"binary": CHROME, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
                      "unhandledPromptBehavior": "ignore"}  # fmt: skip
            self.session = ""
            made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = f"/session/{made['sessionId']}"
        except BaseException:
            self.stop()
            raise

    def wait(self, seconds=30):
        for _ in range(10 * seconds):
            try:
                DIRECT.open(f"{self.address}/status", timeout=5).close()
                return
            except OSError:
                if self.driver.poll() is not None:
                    raise RuntimeError(f"chromedriver ended with status {self.driver.returncode}") from None
                time.sleep(0.1)
        raise RuntimeError("chromedriver does not answer")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("DELETE", self.session)
        finally:
            self.stop()

    def stop(self):
        self.driver.terminate()
        self.driver.wait(timeout=30)

    def call(self, method, path, body=None):
        """The answer's value; RuntimeError with the browser's words for an error."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with DIRECT.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                said = json.load(error)["value"]
            raise RuntimeError(f"{said['error']}: {said['message']}") from None

    # -- the page

    def open(self, address):
        """A file's path, or an address."""
        self.call("POST", f"{self.session}/url", {"url": address if isinstance(address, str) else address.as_uri()})

    def run(self, script, *args):
        """The value that the body of a function returns."""
        return self.call("POST", f"{self.session}/execute/sync", {"script": script, "args": args})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def click(self, selector):
        found = self.call("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        self.call("POST", f"{self.session}/element/{next(iter(found.values()))}/click", {})

    def press(self, *names):
        """Keys for whatever has the focus, by name."""
        presses = [{"type": kind, "value": KEYS[name]} for name in names for kind in ("keyDown", "keyUp")]
        self.call("POST", f"{self.session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": presses}]})

    def resize(self, width, height=900):
        """The size of the page's window; a browser's own window may have a least width."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def scheme(self, name):
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def devtools(self, command, **parameters):
        return self.call("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self):
        """What was written to the console since the last call, violations of the page's policy included."""
        return [entry["message"] for entry in self.call("POST", f"{self.session}/se/log", {"type": "browser"})]

    def alert(self):
        """The text of an open dialogue, or None."""
        try:
            return self.call("GET", f"{self.session}/alert/text")
        except RuntimeError as error:
            if "no such alert" not in str(error):
                raise
            return None

    def screenshot(self, path, *parts):
        """A PNG of the whole page, or of the rectangle around these parts, which are selectors."""
        clip = parts and self.run("""
          const boxes = arguments[0].map((part) => document.querySelector(part).getBoundingClientRect());
          const [x, y] = ["left", "top"].map((side) => Math.min(...boxes.map((box) => box[side])));
          const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...boxes.map((box) => box[side])));
          return { x: x + scrollX, y: y + scrollY, width: right - x, height: bottom - y, scale: 1 };""", parts)
        part = {"clip": clip} if clip else {}
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, **part)
        path.write_bytes(base64.b64decode(shot["data"]))
