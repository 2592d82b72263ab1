# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real browser without a screen or a network, led over the DevTools protocol: NUL-ended JSON through two pipes."""
import base64
import fcntl
import json
import os
import select
import subprocess
import time

LIMIT = 60  # seconds until something hangs


class Navigated(Exception):
    """The page that was asked has been left."""


class Browser:
    def __init__(self, folder):
        inner_in, self.out = os.pipe()
        self.into, inner_out = os.pipe()
        # the browser reads descriptor 3 and writes 4: away from those first, that none overwrites the other
        low = [inner_in, inner_out]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in low]
        command = ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + folder, "--remote-debugging-pipe",
                   "--host-resolver-rules=MAP * ~NOTFOUND", "--autoplay-policy=no-user-gesture-required", "about:blank"]
        with open(os.path.join(folder, "browser.log"), "w") as log:
            self.process = subprocess.Popen(["bash", "-c", 'exec "$@" 3<&%d 4>&%d' % tuple(high), "browser"] + command, pass_fds=high,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for fd in low + high:
            os.close(fd)
        self.rest, self.n, self.events, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(domain + ".enable")

    def close(self):
        self.process.kill()
        self.process.wait()

    def receive(self, until):
        """The next message, or None at the time `until`."""
        while b"\0" not in self.rest:
            if not select.select([self.into], [], [], max(0, until - time.monotonic()))[0]:
                return None
            piece = os.read(self.into, 1 << 20)
            assert piece, "the browser is gone"
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.n += 1
        request = {"id": self.n, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        until = time.monotonic() + LIMIT
        while True:
            message = self.receive(until)
            assert message is not None, "no answer to %s" % method
            if message.get("id") == self.n:
                if "navigated" in message.get("error", {}).get("message", ""):
                    raise Navigated
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def open(self, path, fragment=""):
        """Loads a page; returns how many seconds that took."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href == 'about:blank'")
        self.events.clear()
        start = time.monotonic()
        self.call("Page.navigate", url="file://" + path + fragment)
        self.wait("document.readyState == 'complete' && location.href != 'about:blank'")
        return time.monotonic() - start

    def run(self, script):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script):
        """Until a JavaScript expression is true, of this page or one that it is left for meanwhile."""
        until = time.monotonic() + LIMIT
        while not self.is_true(script):
            assert time.monotonic() < until, "never came true: " + script
            time.sleep(0.02)

    def is_true(self, script):
        try:
            return self.run(script)
        except Navigated:
            return False

    def press(self, key):
        for kind in "keyDown", "keyUp":
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def click(self, x, y):
        for kind in "mouseMoved", "mousePressed", "mouseReleased":
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left", clickCount=1)

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def requests(self):
        self.run("0")  # what came before this answer is in
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        """Exceptions, console errors, and whatever the browser itself logs as one."""
        self.run("0")
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
                found.append(json.dumps(parameters["args"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append("%(text)s %(url)s" % dict({"url": ""}, **parameters["entry"]))
        return found
