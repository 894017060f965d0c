"""Runs commands inside a space: one JSON object a line in, one a line out. Ends when its standard input does."""

import json
import subprocess
import sys


def serve():
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(run(asked["command"], asked["timeout"])), flush=True)


def run(command, timeout):
    """The command's status and output; a status of None when it took too long or could not be started."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"status": None, "out": "", "err": f"no end after {timeout} s"}
    except OSError as error:
        return {"status": None, "out": "", "err": str(error)}
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


if __name__ == "__main__":
    serve()
