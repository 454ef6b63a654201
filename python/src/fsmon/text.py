"""Names are bytes; this makes text of them."""

from typing import Optional


def text(name: Optional[bytes]) -> Optional[str]:
    """Lossy text: what is not UTF-8 becomes U+FFFD. None stays None."""
    return None if name is None else name.decode("utf-8", "replace")


def is_utf8(name: bytes) -> bool:
    """Whether `text` keeps every byte."""
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shown(name: bytes) -> str:
    """For messages: printable, on one line."""
    return ascii(name)[2:-1]
