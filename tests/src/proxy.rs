use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::Dice;

/// A bad line to a port of this machine: every connection over it is cut, goes silent or is closed on one side after
/// some bytes, until [`FlakyLink::mend`].
pub struct FlakyLink {
    port: u16,
    line: Arc<Line>,
}

struct Line {
    target: u16,
    mended: AtomicBool,
    faults: AtomicUsize,
}

/// What happens to a connection, once this many bytes went one way.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut(usize),
    Silence(usize),
    HalfClose(usize),
}

/// For which a silent line stays before it is cut.
const SILENCE: Duration = Duration::from_millis(700);

impl FlakyLink {
    /// In front of a port.
    pub fn new(target: u16, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback interface has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let line = Arc::new(Line { target, mended: AtomicBool::new(false), faults: AtomicUsize::new(0) });
        let shared = Arc::clone(&line);
        let mut dice = Dice::new(seed);
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let bytes = dice.below(6000);
                let fault = match dice.below(3) {
                    0 => Fault::Cut(bytes),
                    1 => Fault::Silence(bytes),
                    _ => Fault::HalfClose(bytes),
                };
                shared.connect(client, fault);
            }
        });
        Self { port, line }
    }

    /// Where to connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections suffered so far.
    pub fn faults(&self) -> usize {
        self.line.faults.load(Ordering::SeqCst)
    }

    /// New connections suffer no more.
    pub fn mend(&self) {
        self.line.mended.store(true, Ordering::SeqCst);
    }
}

impl Line {
    fn connect(self: &Arc<Self>, client: TcpStream, fault: Fault) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        let fault = (!self.mended.load(Ordering::SeqCst)).then_some(fault);
        let clone = |stream: &TcpStream| stream.try_clone().expect("a socket has a second handle");
        let (up, down) = ((clone(&client), clone(&server)), (server, client));
        for ((from, to), fault) in [(up, fault), (down, None)] {
            let line = Arc::clone(self);
            std::thread::spawn(move || line.pump(from, to, fault));
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, fault: Option<Fault>) {
        let mut buffer = [0; 512];
        let mut passed = 0;
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
            passed += n;
            let both = |stream: &TcpStream| drop(stream.shutdown(Shutdown::Both));
            match fault {
                Some(Fault::Cut(after)) if passed >= after => {
                    self.faults.fetch_add(1, Ordering::SeqCst);
                    both(&from);
                    both(&to);
                    return;
                }
                Some(Fault::Silence(after)) if passed >= after => {
                    self.faults.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(SILENCE);
                    both(&from);
                    both(&to);
                    return;
                }
                Some(Fault::HalfClose(after)) if passed >= after => {
                    self.faults.fetch_add(1, Ordering::SeqCst);
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                _ => {}
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
