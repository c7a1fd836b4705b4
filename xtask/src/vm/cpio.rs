//! Archives in the "newc" format that the kernel unpacks as its initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source).

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const TRAILER: &str = "TRAILER!!!";

/// Everything belongs to root, whoever writes the archive. Folders come with the files in them.
pub struct Archive<W> {
    out: W,
    entries: u32,
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self {
            out,
            entries: 0,
            directories: BTreeSet::new(),
        }
    }

    pub fn directory(&mut self, path: &Path) -> io::Result<()> {
        if path.parent().is_none() || self.directories.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.directories.insert(path.to_path_buf());
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    pub fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, REGULAR | permissions, (0, 0), content)
    }

    pub fn character_device(
        &mut self,
        path: &Path,
        permissions: u32,
        (major, minor): (u32, u32),
    ) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, CHARACTER_DEVICE | permissions, (major, minor), &[])
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry(Path::new(TRAILER), 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &Path) -> io::Result<()> {
        path.parent()
            .map_or(Ok(()), |parent| self.directory(parent))
    }

    fn entry(
        &mut self,
        path: &Path,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        self.entries += 1;
        let name = path
            .to_str()
            .ok_or_else(|| io::Error::other(format!("{}: not UTF-8", path.display())))?;
        let name = name.trim_start_matches('/');
        let header = header(self.entries, mode, device, name, content.len())?;
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Names and contents end at multiples of four.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out
            .write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

fn header(
    inode: u32,
    mode: u32,
    (major, minor): (u32, u32),
    name: &str,
    length: usize,
) -> io::Result<String> {
    let length = u32::try_from(length)
        .map_err(|_| io::Error::other(format!("{name}: longer than 4 GiB")))?;
    let name_length = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
    // A second inode with the same number would be a hard link, so each entry has its own.
    let (uid, gid, links, modified, on_major, on_minor, check) = (0, 0, 1, 0, 0, 0, 0);
    let fields = [
        inode,
        mode,
        uid,
        gid,
        links,
        modified,
        length,
        on_major,
        on_minor,
        major,
        minor,
        name_length,
        check,
    ];
    Ok(fields.iter().fold("070701".to_owned(), |header, field| {
        header + &format!("{field:08x}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_what_cpio_writes() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b"), 0o644, b"hello").unwrap();
        archive
            .character_device(Path::new("/a/null"), 0o666, (1, 3))
            .unwrap();
        let bytes = archive.finish().unwrap();

        let zeros = |count| "00000000".repeat(count);
        let mut expected = format!(
            "070701{:08x}{:08x}{}{:08x}{}",
            1,
            0o040_755,
            zeros(2),
            1,
            zeros(6)
        );
        expected += &format!("{:08x}{:08x}a\0", 2, 0);
        expected += &format!(
            "070701{:08x}{:08x}{}{:08x}{}{:08x}",
            2,
            0o100_644,
            zeros(2),
            1,
            zeros(1),
            5
        );
        expected += &format!("{}{:08x}{:08x}a/b\0\0\0hello\0\0\0", zeros(4), 4, 0);
        expected += &format!(
            "070701{:08x}{:08x}{}{:08x}{}",
            3,
            0o020_666,
            zeros(2),
            1,
            zeros(4)
        );
        expected += &format!("{:08x}{:08x}{:08x}{:08x}a/null\0\0\0\0", 1, 3, 7, 0);
        assert_eq!(String::from_utf8_lossy(&bytes[..expected.len()]), expected);
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_folder_is_written_once_and_before_its_files() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/lib/x/one"), 0o755, b"").unwrap();
        archive.file(Path::new("/lib/x/two"), 0o755, b"").unwrap();
        archive.directory(Path::new("/lib")).unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        assert_eq!(text.matches("070701").count(), 5);
        assert!(text.find("lib/x\0").unwrap() < text.find("lib/x/one\0").unwrap());
    }
}
