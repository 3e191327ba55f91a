"""What the document cannot say of a call, and what a run has no time for."""

import os
import re

import schemathesis

MAX_FILES = 5
MAX_WAIT_SECONDS = 30

# Ids in bodies that only the relay gives out, by the call. A reply answers no message, which would be
# another session's, or the one that is to stay under its lease.
LEASE = {"lease_id": os.environ["POSTERN_LEASE"]}
GIVEN = {
    "postReply": {"session_id": "known", "message_id": None},
    "postChunk": LEASE,
    "extendLease": LEASE,
}


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw["operationId"]
    if isinstance(case.body, dict):
        case.body = with_integers(case.body)
        leave_files(case.body)
        take_given(case.body, GIVEN.get(operation, {}))
        hold_shortly(case.body, "wait_seconds")
    hold_shortly(case.query, "wait")
    if operation == "postMessage":
        lengthen_key(case.headers)


def with_integers(value):
    """60.0 is an integer to JSON Schema, and none to the relay."""
    if isinstance(value, dict):
        return {name: with_integers(field) for name, field in value.items()}
    return int(value) if type(value) is float and value.is_integer() else value


def leave_files(body):
    """A file that was never sent is refused, however well its id is written."""
    files = body.get("files")
    if not isinstance(files, list) or len(files) > MAX_FILES or not all(map(is_id, files)):
        return
    body["files"] = []
    for text in ("message", "response"):
        if isinstance(body.get(text), str) and not body[text].strip():
            body[text] = "see the file"


def take_given(body, given):
    """A made-up id names nothing; one that is malformed stays."""
    body.update({name: id for name, id in given.items() if is_id(body.get(name))})


def is_id(value):
    if isinstance(value, str):
        return re.fullmatch("[A-Za-z0-9_-]{1,64}", value)
    return type(value) is int and -(2**63) <= value < 2**63


def hold_shortly(fields, name):
    """For the run to come to an end, a call is held for a second at most."""
    if str(fields.get(name)).isdecimal() and int(fields[name]) <= MAX_WAIT_SECONDS:
        fields[name] = min(int(fields[name]), 1)


def lengthen_key(headers):
    """A short key is refused when the message opens a session, which only the relay knows."""
    key = headers.get("Idempotency-Key", "")
    if key.isascii() and key.isprintable() and 0 < len(key) < 16 and " " not in key:
        headers["Idempotency-Key"] = key.ljust(16, "-")
