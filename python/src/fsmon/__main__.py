"""`python -m fsmon FILE|DIR|-` prints a binary stream as JSON, as `fsmon decode -f json` does."""

import argparse
import os
import sys
from typing import Any, List, Optional

from . import FsmonError, __version__
from . import open as open_stream
from .lines import JsonLines
from .model import Event, Gap, Loss, Note, Pause
from .reader import Reader

FLUSHED = 1 << 16
"""Characters of output gathered at the most, where nobody waits for them."""


def _arguments(args: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fsmon", description="Print a binary stream as JSON.")
    parser.add_argument("source", metavar="FILE|DIR|-", help="a binary stream, or a directory of its "
                        "segments; - is standard input")
    parser.add_argument("--chain", action="store_true", help="add the ancestry of each process")
    parser.add_argument("--cmdline", action="store_true",
                        help="add the command line of each process, where the stream has it")
    parser.add_argument("--notes", action="store_true",
                        help="add lines about what was watched, and what the recorder did")
    parser.add_argument("--follow", action="store_true",
                        help="wait for more where the stream is still being written")
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    return parser.parse_args(args)


def _gap_line(gap: Gap) -> str:
    events = "an unknown number of events is" if gap.events is None else (
        "1 event is" if gap.events == 1 else f"{gap.events} events are")
    return (f"fsmon: {gap.source}: byte {gap.offset}: {gap.what}; {gap.length} bytes passed over, "
            f"{events} missing")


def _print(reader: Reader, lines: JsonLines, out: Any, live: bool, notes: bool) -> None:
    """Live, what is known is written before more is waited for; that is after every block."""
    gathered: List[str] = []
    length = 0
    for part in reader.batches():
        for item in part:
            if isinstance(item, (Event, Loss, Pause)) or notes and isinstance(item, Note):
                for line in lines.of(item):
                    gathered.append(line)
                    length += len(line)
            elif isinstance(item, Gap):
                print(_gap_line(item), file=sys.stderr)
        if live or length >= FLUSHED:
            _write(gathered, out)
            length = 0
    _write(gathered, out)


def _write(gathered: List[str], out: Any) -> None:
    if gathered:
        out.write(("\n".join(gathered) + "\n").encode("utf-8"))
        out.flush()
        gathered.clear()


def main(args: Optional[List[str]] = None) -> int:
    """The exit status: 0 complete, 1 damaged or not readable."""
    options = _arguments(args)
    source = sys.stdin.buffer if options.source == "-" else options.source
    live = options.follow or options.source == "-"
    try:
        with open_stream(source, salvage=True, follow=options.follow) as reader:
            _print(reader, JsonLines(options.chain, options.cmdline), sys.stdout.buffer, live, options.notes)
    except BrokenPipeError:
        # Whoever read this has enough. Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FsmonError, OSError) as error:
        print(f"fsmon: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if reader.gap_count:
        places = "1 place" if reader.gap_count == 1 else f"{reader.gap_count} places"
        print(f"fsmon: {options.source} is damaged in {places}; everything else was printed", file=sys.stderr)
    return 1 if reader.gap_count else 0


if __name__ == "__main__":
    sys.exit(main())
