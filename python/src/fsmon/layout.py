"""Where the fields of the format are: docs/format.md as constants. All integers are little-endian."""

import struct

MAGIC = b"\x89FSM\r\n\x1a\n"
SYNC = b"\xf5BK\x01"
"""The first bytes of a block; the last one is the major version."""

MAJOR = 1
SLOT = 64
HEADER_MIN, HEADER_MAX = 192, 65536
BLOCK_HEADER = 64
BLOCK_MAX = 65536
PAYLOAD_MAX = BLOCK_MAX - BLOCK_HEADER
GRID = 1 << 20
TEXT_MAX = 4096
"""The longest name of a directory, and the longest string."""

U64 = 0xFFFFFFFFFFFFFFFF
UNKNOWN_COUNT = U64

FILE_HEADER = struct.Struct("<8sHHIIIQQ16s16s16sIIQQQQIII")
FILE_CRC_AT = 20
ENTRIES_AT = 192
ENTRY = struct.Struct("<HH")
BLOCK = struct.Struct("<4sBBHIIQQQQI4sII")

KIND_PAD, KIND_RECORDS = 0, 1
FLAG_LOSS, FLAG_UNORDERED, FLAG_FINAL, FLAG_RENUMBERED, FLAG_FRAME = 1, 2, 4, 8, 16

EVENT, DIR, PROC, STR, LOSS, STATS, END, CLOCK, GAP, NOTE = range(1, 11)
TIMED = frozenset((EVENT, LOSS, STATS, END, GAP, NOTE))
"""Records whose wall time needs a CLOCK before them."""

# Each from byte 4 of its record on, behind tag, slots and flags.
EVENT_FIELDS = struct.Struct("<IQIIQIHH")
EVENT_NAMES_AT = 40
DIR_FIELDS = struct.Struct("<IIIIHHQ")
DIR_NAME_AT = 32
PROC_FIELDS = struct.Struct("<IIIIIQII16sIIQIIII")
PROC_SLOTS = 2
STR_FIELDS = struct.Struct("<IHH")
STR_BYTES_AT = 12
LOSS_FIELDS = struct.Struct("<IQQQQI")
STATS_FIELDS = struct.Struct("<IQQQQQII")
END_FIELDS = struct.Struct("<IQQQ")
CLOCK_FIELDS = struct.Struct("<IQQ")
GAP_FIELDS = struct.Struct("<IQQQ16sQ")
NOTE_FIELDS = struct.Struct("<IQIHH")
NOTE_TEXTS_AT = 24
NOTE_TEXT_MAX = 4096
"""Path and text of a NOTE together."""
NOTE_RECURSIVE = 1

PROC_COMM, PROC_IDS, PROC_EXE_LATE, PROC_CMDLINE_LATE, PROC_CMDLINE_CUT = 1, 2, 4, 8, 16
PROC_EXE_READ_LATE, PROC_EXE_UNSURE, PROC_EXE_CUT = 32, 64, 128

TYPES = (
    ("CREATE", 0x100),
    ("MOVED_FROM", 0x40),
    ("MOVED_TO", 0x80),
    ("RENAME", 0x10000000),
    ("MOVE_SELF", 0x800),
    ("OPEN", 0x20),
    ("OPEN_EXEC", 0x1000),
    ("ACCESS", 0x1),
    ("MODIFY", 0x2),
    ("ATTRIB", 0x4),
    ("CLOSE_NOWRITE", 0x10),
    ("CLOSE_WRITE", 0x8),
    ("DELETE", 0x200),
    ("DELETE_SELF", 0x400),
    ("FS_ERROR", 0x8000),
)
"""Event types with their bits of `mask`, in the order in which those of a merged event happened."""

IS_DIR = 0x40000000
FS_ERROR = 0x8000

ATTRIBUTIONS = ("exact", "ambiguous", "late", "unknown")
LOSS_REASONS = {
    1: "queue_overflow",
    2: "process_messages",
    3: "max_dirs",
    4: "max_processes",
    5: "walk",
    6: "unmarked",
    7: "mount",
    8: "unmount",
    9: "max_files",
    10: "tables_full",
    11: "name_too_long",
    12: "disk",
}
"""Reasons of a LOSS as the JSON of fsmon calls them; every other number is `other`."""
GAP_CAUSES = {0: "unknown", 1: "stopped", 2: "killed", 3: "reboot", 4: "disk"}
"""Causes of a GAP as the JSON of fsmon calls them; every other number is `other`."""
NOTES = {1: "watch_began", 2: "watch_ended", 3: "watch_pending", 4: "watch_failed", 5: "segment_deleted"}
"""What a NOTE says, as the JSON of fsmon calls it; every other number is `other`."""
END_INCOMPLETE = 1
END_REASONS = {0: "stopped", 1: "failed"}
