//! Path rules. A path is absolute, `/`-separated UTF-8; a component is 1 to 255 bytes, has no NUL
//! and is neither `.` nor `..`. Nothing is normalised silently: what is not canonical is refused,
//! except for one trailing slash.

use std::fmt;
use thiserror::Error;

/// The longest component, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// Why a path or name is refused. The message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// No bytes at all.
    #[error("the path is empty; give an absolute path such as /data/file")]
    Empty,
    /// Does not start with `/`.
    #[error("{0:?} is relative; paths start with /")]
    Relative(String),
    /// Over [`MAX_PATH_BYTES`].
    #[error("the path has {0} bytes; the limit is 4096")]
    TooLong(usize),
    /// A component over [`MAX_NAME_BYTES`].
    #[error("the name {0:?}… has {1} bytes; the limit is 255")]
    NameTooLong(String, usize),
    /// `//` inside a path, or an empty name.
    #[error("a name is empty; remove the doubled slash")]
    EmptyName,
    /// `.` or `..`.
    #[error("{0:?} is not a name here; give the path it stands for")]
    Dots(String),
    /// NUL or `/` in a name.
    #[error("the name {0:?} holds a NUL or a slash")]
    BadCharacter(String),
    /// Bytes that are not UTF-8.
    #[error("the path is not valid UTF-8")]
    NotUtf8,
}

/// One component of a path, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Checks a component.
    ///
    /// # Errors
    /// A [`PathError`] naming the rule it breaks.
    pub fn new(name: &str) -> Result<Self, PathError> {
        if name.is_empty() {
            return Err(PathError::EmptyName);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(PathError::NameTooLong(name.chars().take(32).collect(), name.len()));
        }
        if name == "." || name == ".." {
            return Err(PathError::Dots(name.into()));
        }
        if name.bytes().any(|b| b == 0 || b == b'/') {
            return Err(PathError::BadCharacter(name.into()));
        }
        Ok(Self(name.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An absolute path, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GfsPath(Box<str>);

impl GfsPath {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Checks a path; one trailing slash is dropped.
    ///
    /// # Errors
    /// A [`PathError`] naming the rule it breaks.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong(path.len()));
        }
        let Some(inner) = path.strip_prefix('/') else {
            return Err(PathError::Relative(path.chars().take(64).collect()));
        };
        if inner.is_empty() {
            return Ok(Self::root());
        }
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        for name in inner.split('/') {
            Name::new(name)?;
        }
        Ok(Self(format!("/{inner}").into()))
    }

    /// Checks a path given as bytes.
    ///
    /// # Errors
    /// As [`GfsPath::parse`], and for bytes that are not UTF-8.
    pub fn from_bytes(path: &[u8]) -> Result<Self, PathError> {
        Self::parse(std::str::from_utf8(path).map_err(|_| PathError::NotUtf8)?)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Its components, from the root down; none for the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The directory it lies in and its last component; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(GfsPath, &str)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = self.0.rsplit_once('/')?;
        Some((if parent.is_empty() { Self::root() } else { Self(parent.into()) }, name))
    }

    /// The path of `name` inside this directory.
    ///
    /// # Errors
    /// If the name is not valid or the path becomes too long.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        Name::new(name)?;
        Self::parse(&format!("{}/{name}", if self.is_root() { "" } else { self.as_str() }))
    }
}

impl fmt::Debug for GfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for GfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for GfsPath {
    type Err = PathError;
    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_paths() {
        assert_eq!(GfsPath::parse("/").unwrap().names().count(), 0);
        let p = GfsPath::parse("/a/b c/ü/").unwrap();
        assert_eq!(p.as_str(), "/a/b c/ü");
        assert_eq!(p.split().unwrap(), (GfsPath::parse("/a/b c").unwrap(), "ü"));
        assert_eq!(GfsPath::parse("/a").unwrap().split().unwrap(), (GfsPath::root(), "a"));
        assert_eq!(GfsPath::root().join("x").unwrap().as_str(), "/x");
    }

    #[test]
    fn bad_paths_name_the_rule() {
        let long = format!("/{}", "n".repeat(256));
        let deep = "/abc".repeat(1025);
        for (path, error) in [
            ("", PathError::Empty),
            ("a/b", PathError::Relative("a/b".into())),
            ("//", PathError::EmptyName),
            ("/a//b", PathError::EmptyName),
            ("/a/./b", PathError::Dots(".".into())),
            ("/a/..", PathError::Dots("..".into())),
            ("/a\0b", PathError::BadCharacter("a\0b".into())),
            (deep.as_str(), PathError::TooLong(4100)),
            (long.as_str(), PathError::NameTooLong("n".repeat(32), 256)),
        ] {
            assert_eq!(GfsPath::parse(path), Err(error), "{path:?}");
        }
        assert_eq!(GfsPath::from_bytes(b"/\xff"), Err(PathError::NotUtf8));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in "\\PC*") {
            if let Ok(path) = GfsPath::parse(&text) {
                prop_assert_eq!(&GfsPath::parse(path.as_str()).unwrap(), &path);
                for name in path.names() {
                    prop_assert!(Name::new(name).is_ok());
                }
            }
        }
    }
}
