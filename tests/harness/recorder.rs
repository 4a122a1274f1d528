//! A relay that writes down what goes over it: clients connect to it instead of to the server.
//!
//! Invariant: bytes are written down before they are sent on, so no reply stands before its request.

use crate::transcript::Chunk;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The relay, running.
#[derive(Debug)]
pub struct Recorder {
    port: u16,
    stopping: Arc<AtomicBool>,
    accepting: JoinHandle<Vec<Recording>>,
}

type Shared = Arc<Mutex<Vec<Chunk>>>;

/// One connection.
#[derive(Debug)]
struct Recording {
    chunks: Shared,
    copying: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Listens on a port of loopback, for the server on `server_port` of loopback.
    pub fn start(server_port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let accepting = std::thread::spawn(move || {
            let mut recordings = Vec::new();
            while let Ok((client, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                match relay(client, server_port) {
                    Ok(recording) => recordings.push(recording),
                    Err(error) => eprintln!("recorder: {error:#}"),
                }
            }
            recordings
        });
        Ok(Self { port, stopping, accepting })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What went over each connection, once all of them are closed.
    pub fn finish(self) -> Result<Vec<Vec<Chunk>>> {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes `accept`.
        TcpStream::connect(("127.0.0.1", self.port))?;
        let recordings = self.accepting.join().ok().context("the recorder panicked")?;
        let mut all = Vec::new();
        for recording in recordings {
            for copying in recording.copying {
                copying.join().ok().context("the recorder panicked")?;
            }
            all.push(recording.chunks.lock().map(|chunks| chunks.clone()).unwrap_or_default());
        }
        Ok(all)
    }
}

fn relay(client: TcpStream, server_port: u16) -> Result<Recording> {
    let server = TcpStream::connect(("127.0.0.1", server_port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let chunks = Shared::default();
    let copying = vec![
        copy(client.try_clone()?, server.try_clone()?, true, chunks.clone()),
        copy(server, client, false, chunks.clone()),
    ];
    Ok(Recording { chunks, copying })
}

fn copy(mut from: TcpStream, mut to: TcpStream, from_client: bool, chunks: Shared) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default();
            if let Ok(mut chunks) = chunks.lock() {
                chunks.push(Chunk { from_client, bytes: bytes.to_vec() });
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    })
}
