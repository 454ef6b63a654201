"""What the tests share."""

import io
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "src"))

import fsmon  # noqa: E402

GOLDEN = os.path.join(HERE, os.pardir, os.pardir, "crates", "format", "tests", "golden")


def golden(name):
    """A golden stream and its contents in text."""
    with open(os.path.join(GOLDEN, name + ".fsmon"), "rb") as stream:
        data = stream.read()
    with open(os.path.join(GOLDEN, name + ".txt"), encoding="utf-8") as text:
        return data, text.read()


def reader(data, **options):
    return fsmon.open(io.BytesIO(data), **options)


def items(data, **options):
    """Everything, or what comes before an error; and the error."""
    found = []
    try:
        for item in reader(data, **options).items():
            found.append(item)
    except fsmon.FsmonError as error:
        return found, error
    return found, None


def events(found):
    return [item for item in found if isinstance(item, fsmon.Event)]


def gaps(found):
    return [item for item in found if isinstance(item, fsmon.Gap)]


def is_subsequence(some, all_of_them):
    rest = iter(all_of_them)
    return all(any(one == other for other in rest) for one in some)
