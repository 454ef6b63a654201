"""What can be wrong."""


class FsmonError(Exception):
    """The stream cannot be read: another version, a feature or a codec that is not known here."""


class DamagedError(FsmonError):
    """The bytes are not what they should be."""

    def __init__(self, offset, what):
        super().__init__(f"byte {offset}: {what}")
        #: Bytes from the beginning of the file.
        self.offset = offset
        #: What is wrong.
        self.what = what
