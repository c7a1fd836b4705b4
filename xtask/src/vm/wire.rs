//! What the guest says to the host over one serial line: frames of {kind: u8, length: u32 little-endian, payload}.
//!
//! One line for all three keeps stdout and stderr in order and leaves the other serial port to the kernel.

use std::io::{self, Read, Write};

/// Where the frames start: firmware and kernel may have left noise on the line before.
const PREAMBLE: &[u8] = b"\0nat-vm-frames-1\n";
/// No frame is longer; a larger length means that the line is garbled.
const MAX_PAYLOAD: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// The command is done, with this status.
    Exit(u8),
}

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;

/// Says that frames follow.
pub fn open(line: &mut impl Write) -> io::Result<()> {
    line.write_all(PREAMBLE)
}

impl Frame {
    pub fn write(&self, line: &mut impl Write) -> io::Result<()> {
        let (kind, payload) = match self {
            Self::Stdout(payload) => (STDOUT, payload.as_slice()),
            Self::Stderr(payload) => (STDERR, payload.as_slice()),
            Self::Exit(status) => (EXIT, std::slice::from_ref(status)),
        };
        for part in payload.chunks(MAX_PAYLOAD) {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            let mut frame = vec![kind];
            frame.extend(length.to_le_bytes());
            frame.extend(part);
            line.write_all(&frame)?;
        }
        Ok(())
    }

    fn read(line: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 5];
        line.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        if length > MAX_PAYLOAD {
            return Err(io::Error::other(format!(
                "a frame of {length} bytes: the line is garbled"
            )));
        }
        let mut payload = vec![0; length];
        line.read_exact(&mut payload)?;
        match (kind, payload.as_slice()) {
            (STDOUT, _) => Ok(Self::Stdout(payload)),
            (STDERR, _) => Ok(Self::Stderr(payload)),
            (EXIT, &[status]) => Ok(Self::Exit(status)),
            _ => Err(io::Error::other(format!(
                "a frame of kind {kind}: the line is garbled"
            ))),
        }
    }
}

/// The frames of a line, up to its end or until it is garbled.
pub struct Frames<R> {
    line: R,
    opened: bool,
}

impl<R: Read> Frames<R> {
    pub fn new(line: R) -> Self {
        Self {
            line,
            opened: false,
        }
    }

    fn skip_to_preamble(&mut self) -> io::Result<()> {
        let mut last = std::collections::VecDeque::with_capacity(PREAMBLE.len() + 1);
        while last != PREAMBLE {
            let mut byte = [0];
            self.line.read_exact(&mut byte)?;
            last.extend(byte);
            if last.len() > PREAMBLE.len() {
                last.pop_front();
            }
        }
        self.opened = true;
        Ok(())
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if !self.opened {
            self.skip_to_preamble().ok()?;
        }
        Frame::read(&mut self.line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_line_and_noise_before_them() {
        let sent = [
            Frame::Stdout(b"{\"ok\":true}\n".to_vec()),
            Frame::Stderr(vec![0, 0xff, b'\r', b'\n']),
            Frame::Exit(7),
        ];
        let mut line = b"SeaBIOS\0\0nat-vm-".to_vec();
        open(&mut line).unwrap();
        for frame in &sent {
            frame.write(&mut line).unwrap();
        }
        assert_eq!(Frames::new(line.as_slice()).collect::<Vec<_>>(), sent);
    }

    #[test]
    fn long_output_is_cut_into_frames() {
        let mut line = Vec::new();
        open(&mut line).unwrap();
        Frame::Stdout(vec![b'x'; MAX_PAYLOAD + 1])
            .write(&mut line)
            .unwrap();
        let lengths: Vec<_> = Frames::new(line.as_slice())
            .map(|frame| match frame {
                Frame::Stdout(payload) => payload.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [MAX_PAYLOAD, 1]);
    }

    #[test]
    fn a_garbled_or_cut_line_ends_the_frames() {
        for tail in [
            &[9, 0, 0, 0, 0][..],
            &[STDOUT, 255, 255, 255, 255],
            &[STDOUT, 4, 0, 0, 0, b'x'],
        ] {
            let mut line = Vec::new();
            open(&mut line).unwrap();
            line.extend(tail);
            assert_eq!(Frames::new(line.as_slice()).count(), 0);
        }
        assert_eq!(Frames::new(&b"no preamble"[..]).count(), 0);
    }
}
