//! The error type of all crates of fsmon: a kind that a program can match, the setting that it is about, and one line
//! for people, in which the program can name settings as its users know them.

pub use crate::setting::{Message, Names, Setting};
use crate::stream::Damage;
use std::fmt;
use std::io;
use std::sync::Arc;

/// What kind of failure it was, so that a program can decide what to do: ask for rights, try again later, or
/// give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The process lacks a capability or a right to a file.
    Permission,
    /// This kernel or filesystem does not offer what is needed.
    Unsupported,
    /// A file, directory, process or user does not exist.
    NotFound,
    /// The request can never work: a bad pattern, a number out of range, options that contradict each other.
    Invalid,
    /// Something is in use by another process, or a limit is reached: it may work later.
    Busy,
    /// Reading or writing failed.
    Io,
    /// A stream violates its format.
    Damaged,
    /// A bug of fsmon.
    Internal,
}

crate::named!(ErrorKind {
    Permission = "permission",
    Unsupported = "unsupported",
    NotFound = "not_found",
    Invalid = "invalid",
    Busy = "busy",
    Io = "io",
    Damaged = "damaged",
    Internal = "internal",
});

impl From<&io::Error> for ErrorKind {
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => ErrorKind::Permission,
            Kind::NotFound | Kind::NotADirectory => ErrorKind::NotFound,
            Kind::Unsupported => ErrorKind::Unsupported,
            Kind::InvalidInput | Kind::IsADirectory | Kind::InvalidFilename => ErrorKind::Invalid,
            Kind::ResourceBusy
            | Kind::WouldBlock
            | Kind::QuotaExceeded
            | Kind::StorageFull
            | Kind::OutOfMemory => ErrorKind::Busy,
            Kind::InvalidData | Kind::UnexpectedEof => ErrorKind::Damaged,
            // The standard library has no kind for these.
            _ => match error.raw_os_error() {
                Some(EMFILE | ENFILE) => ErrorKind::Busy,
                Some(ESRCH) => ErrorKind::NotFound,
                _ => ErrorKind::Io,
            },
        }
    }
}

/// Numbers of Linux, the same on all architectures (`asm-generic/errno-base.h`).
const ESRCH: i32 = 3;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// What failed, in one line for people that names the remedy if there is one, and as data for programs: the
/// kind, the setting to change, the damage of a stream. `Display` includes the text of the source: printing the
/// chain of sources as well shows it twice.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Message,
    setting: Option<Setting>,
    cause: Option<Cause>,
}

/// The cause of an error.
#[derive(Clone, Debug)]
enum Cause {
    /// The error of a system call. Its text follows the message.
    System(Arc<io::Error>),
    /// Damage of a stream. The message has its text.
    Damage(Box<Damage>),
}

impl Error {
    /// A failure without a failed system call.
    pub fn new(kind: ErrorKind, message: impl Into<Message>) -> Self {
        Error { kind, message: message.into(), setting: None, cause: None }
    }

    /// The request can never work.
    pub fn invalid(message: impl Into<Message>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    /// A system call failed; its error gives the kind, and its text follows the message.
    pub fn os(message: impl Into<Message>, source: io::Error) -> Self {
        let error = Error::new((&source).into(), message);
        Error { cause: Some(Cause::System(Arc::new(source))), ..error }
    }

    /// The same with another kind: for a cause that is known better than the errno says.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        Error { kind, ..self }
    }

    /// The same with `before` in front of the message, such as the name of a file.
    #[must_use]
    pub fn after(self, before: impl Into<Message>) -> Self {
        Error { message: before.into().and(self.message), ..self }
    }

    /// The same with `more` behind the message, such as a remedy.
    #[must_use]
    pub fn and(self, more: impl Into<Message>) -> Self {
        Error { message: self.message.and(more), ..self }
    }

    /// The same, about this setting.
    #[must_use]
    pub fn about(self, setting: Setting) -> Self {
        Error { setting: Some(setting), ..self }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The setting to change, if known.
    #[must_use]
    pub fn setting(&self) -> Option<Setting> {
        self.setting
    }

    /// The line for people, with these names of settings. `Display` has [`Setting::words`].
    #[must_use]
    pub fn line(&self, names: Names) -> String {
        let message = self.message.line(names);
        match &self.cause {
            Some(Cause::System(error)) => format!("{message}: {error}"),
            _ => message,
        }
    }

    /// The errno of the failed system call, if there was one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self.cause.as_ref()? {
            Cause::System(error) => error.raw_os_error(),
            Cause::Damage(_) => None,
        }
    }

    /// The damage of a stream; `None` if something else failed.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        match self.cause.as_ref()? {
            Cause::Damage(damage) => Some(damage),
            Cause::System(_) => None,
        }
    }
}

/// Errors are equal if kind, setting and line are. The data of a cause is not compared, but its text is part of the
/// line.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let facts = |error: &Error| (error.kind, error.setting, error.to_string());
        facts(self) == facts(other)
    }
}

impl Eq for Error {}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        let error = Error::new(damage.fault.kind(), damage.to_string());
        Error { cause: Some(Cause::Damage(Box::new(damage))), ..error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Setting::words))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self.cause.as_ref()? {
            Cause::System(error) => &**error,
            Cause::Damage(damage) => &**damage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Fault;
    use std::error::Error as _;

    #[test]
    fn the_error_of_a_system_call_gives_kind_text_and_source() {
        for (errno, kind) in [
            (1, ErrorKind::Permission),
            (13, ErrorKind::Permission),
            (2, ErrorKind::NotFound),
            (ESRCH, ErrorKind::NotFound),
            (22, ErrorKind::Invalid),
            (16, ErrorKind::Busy),
            (EMFILE, ErrorKind::Busy),
            (ENFILE, ErrorKind::Busy),
            (28, ErrorKind::Busy),
            (38, ErrorKind::Unsupported),
            (95, ErrorKind::Unsupported),
            (5, ErrorKind::Io),
        ] {
            let error = Error::os("cannot open x", io::Error::from_raw_os_error(errno));
            assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(errno)), "{error}");
            assert!(error.to_string().starts_with("cannot open x: "));
            assert!(error.source().is_some());
        }
        let own = Error::invalid("write 1 to 9");
        assert_eq!((own.kind(), own.raw_os_error()), (ErrorKind::Invalid, None));
        assert_eq!(own.to_string(), "write 1 to 9");
    }

    #[test]
    fn damage_of_a_stream_gives_kind_text_and_source() {
        for (fault, kind) in [
            (Fault::NotAStream, ErrorKind::Invalid),
            (Fault::Version(9), ErrorKind::Unsupported),
            (Fault::Payload, ErrorKind::Damaged),
        ] {
            let damage = Damage { offset: 64, block: Some(2), fault };
            let error = Error::from(damage).after("x.fsmon: ");
            assert_eq!((error.kind(), error.damage()), (kind, Some(&damage)));
            assert_eq!(error.to_string(), format!("x.fsmon: byte 64, block 2: {fault}"));
            let source = error.source().and_then(|source| source.downcast_ref::<Damage>());
            assert_eq!(source, Some(&damage));
        }
    }

    #[test]
    fn a_line_has_the_names_of_the_program() {
        let message = Message::from("no room; raise ").and(Setting::DirsMax).and(" or name fewer");
        let error = Error::os(message, io::Error::from_raw_os_error(28)).about(Setting::Roots);
        let error = error.after("/srv: ").and(" directories");
        assert_eq!(error.setting(), Some(Setting::Roots));
        let full = "No space left on device (os error 28)";
        assert_eq!(
            error.to_string(),
            format!(
                "/srv: no room; raise the limit of directories or name fewer directories: {full}"
            )
        );
        let line = error.line(|setting| if setting == Setting::DirsMax { "--most" } else { "" });
        assert_eq!(line, format!("/srv: no room; raise --most or name fewer directories: {full}"));
        assert_eq!(error, error.clone());
        assert_ne!(error, error.clone().about(Setting::Pid));
    }
}
