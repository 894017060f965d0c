"""Drives a browser over its debugging pipe: opens a page, and runs scripts in it, one a line, until its input ends.

Arguments: the browser, a directory for its files, the width of its window, the page's address. Each script is an expression;
its value, which may be a promise, is printed as one line of JSON.
"""

import json
import os
import subprocess
import sys

browser, directory, width, address = sys.argv[1:]
to_browser, from_browser = os.pipe(), os.pipe()


def take_their_places():
    # The browser reads its orders at 3 and writes its answers at 4.
    orders, answers = os.dup(to_browser[0]), os.dup(from_browser[1])
    os.dup2(orders, 3)
    os.dup2(answers, 4)


child = subprocess.Popen(
    [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
     "--user-data-dir=" + directory, "--window-size=" + width + ",1000", "about:blank"],
    close_fds=False, preexec_fn=take_their_places, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL)
os.close(to_browser[0])
os.close(from_browser[1])
answers = os.fdopen(from_browser[0], "rb", 0)
number, rest = 0, b""


def hear():
    global rest
    while b"\0" not in rest:
        more = answers.read(65536)
        if not more:
            sys.exit("the browser has ended")
        rest += more
    message, rest = rest.split(b"\0", 1)
    return json.loads(message)


def order(method, session=None, **parameters):
    global number
    number += 1
    message = {"id": number, "method": method, "params": parameters}
    if session:
        message["sessionId"] = session
    os.write(to_browser[1], json.dumps(message).encode() + b"\0")
    while True:
        heard = hear()
        if heard.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            print(json.dumps({"complaint": heard["params"]}), flush=True)
        if heard.get("id") == number:
            return heard.get("result", heard)


target = order("Target.createTarget", url="about:blank")["targetId"]
page = order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
for domain in ("Page", "Runtime", "Log"):
    order(domain + ".enable", page)
order("Page.navigate", page, url=address)
try:
    for script in sys.stdin:
        value = order("Runtime.evaluate", page, expression=script, awaitPromise=True, returnByValue=True)
        print(json.dumps(value.get("exceptionDetails") or value["result"].get("value")), flush=True)
    order("Browser.close")
finally:
    child.wait()
