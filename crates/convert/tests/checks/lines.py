"""The lines of `fsmon decode -f json`."""

import base64
import datetime
import json

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def time_ns(line, key="time"):
    """ns since 1970; Python's own times end at microseconds."""
    seconds, fraction = line[key].rstrip("Z").split(".")
    whole = datetime.datetime.fromisoformat(seconds + "+00:00") - EPOCH
    return int(whole.total_seconds()) * 10**9 + int(fraction)


def raw(line, key):
    """The exact bytes where the text does not tell them."""
    return base64.b64decode(line[key]) if key in line else None
