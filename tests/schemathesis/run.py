"""Holds a running relay to docs/openapi.yaml, by calls that schemathesis makes up from it.

    python run.py RELAY_BINARY [SCHEMATHESIS_OPTION...]
"""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
DOCUMENT = HERE.parents[1] / "docs" / "openapi.yaml"


def main(binary, options):
    keys = {"POSTERN_API_KEY": secrets.token_hex(32), "POSTERN_ADMIN_KEY": secrets.token_hex(32)}
    with tempfile.TemporaryDirectory() as folder, relay(binary, keys, Path(folder)) as url:
        known = keys | begin(url, keys["POSTERN_API_KEY"])
        env = os.environ | known | {"SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
        command = [SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run", DOCUMENT]
        # What it remembers of a run goes with the folder: no run hangs on another.
        return subprocess.run([*command, "--url", url, *options], cwd=folder, env=env).returncode


def begin(url, api_key):
    """Something for calls to come upon: schemathesis.toml goes by these ids."""
    token = post(url, "messages", {"session_id": "known", "message": "Are you open?"})["session_token"]
    post(url, "outbox", {"session_id": "known", "response": "Until six."}, api_key)
    file = post(url, "sessions/known/files?name=list.txt", ["tea"], token, "text/plain")
    for session in ("to-be-revoked", "other", "another"):
        post(url, "messages", {"session_id": session, "message": "Hello?"})
    first, *others = post(url, "inbox/lease", {"lease_seconds": 3600}, api_key)["messages"]
    for message in others:
        refusal = {"lease_id": message["lease_id"], "error": "no answer", "dead_letter": True}
        post(url, f"inbox/{message['id']}/nack", refusal, api_key)
    return {
        "POSTERN_SESSION_TOKEN": token,
        "POSTERN_LEASE": first["lease_id"],
        "POSTERN_FILE": file["file_id"],
    }


def post(url, path, body, secret=None, media_type="application/json"):
    request = urllib.request.Request(f"{url}/api/v1/{path}", json.dumps(body).encode())
    request.add_header("Content-Type", media_type)
    if secret:
        request.add_header("Authorization", f"Bearer {secret}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"]


@contextmanager
def relay(binary, keys, folder):
    """A relay on a free port, without limits on how often it is called; ends with the block."""
    log = folder / "log"
    command = [binary, "serve", "--rate-limit", "off", "--listen", "127.0.0.1:0"]
    with log.open("wb") as out, log.open("rb") as lines:
        process = subprocess.Popen([*command, "--db", folder / "relay.db"], env=keys, stderr=out)
        try:
            yield address(process, lines)
        finally:
            process.terminate()
            ended = process.wait(timeout=30)
        if ended != 0:
            sys.exit(f"the relay ended with {ended}:\n{log.read_text()}")


def address(process, lines):
    """The address that the relay's log tells once it listens."""
    while process.poll() is None:
        found = re.search(rb"listening on (http://\S+)", lines.readline())
        if found:
            return found[1].decode()
    sys.exit("the relay did not start")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
