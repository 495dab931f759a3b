use rtc_ice::AgentConfig;
use rtc_shared::TransportProtocol;
use rtc_stun::{Class, MessageBuilder, Method, TransactionId};

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of a test"
)]
fn origin() -> Instant {
    Instant::now()
}

fn server(url: &str) -> RTCIceServer {
    RTCIceServer {
        urls: vec![url.to_owned()],
        username: "user".to_owned(),
        credential: "pass".to_owned(),
    }
}

struct Bench {
    gatherer: Gatherer,
    agent: Agent,
    now: Instant,
}

impl Bench {
    fn new(bases: &[&str]) -> Self {
        let provider = rtc_crypto::default_provider();
        let now = origin();
        let setting = SettingEngine::default();
        let mut gatherer = Gatherer::new(&setting, provider, Rng::from_seed([1; 32]), now);
        for base in bases {
            gatherer.add_base(now, addr(base));
        }
        Self {
            gatherer,
            agent: Agent::new(AgentConfig::default(), provider, Rng::from_seed([2; 32])).unwrap(),
            now,
        }
    }

    fn begin(&mut self, urls: &[&str]) {
        let servers: Vec<_> = urls.iter().copied().map(server).collect();
        let Self {
            gatherer,
            agent,
            now,
        } = self;
        gatherer.begin(*now, &servers, false, agent);
    }

    /// What is sent at this moment: from where, and where to.
    fn sent(&mut self) -> Vec<FiveTuple> {
        std::iter::from_fn(|| self.gatherer.poll_transmit())
            .map(|message| message.transport.five_tuple())
            .collect()
    }

    fn requests(&mut self) -> Vec<RTCRequest> {
        std::iter::from_fn(|| self.gatherer.poll_request()).collect()
    }

    fn errors(&mut self) -> Vec<(String, u16)> {
        std::iter::from_fn(|| self.gatherer.poll_event())
            .filter_map(|event| match event {
                Event::Error(error) => Some((error.url, error.error_code)),
                _ => None,
            })
            .collect()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.sent();
            let Some(next) = self.gatherer.poll_timeout().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.gatherer.handle_timeout(self.now, &self.agent);
            self.sent();
            let next = self.gatherer.poll_timeout();
            assert!(next.is_none_or(|at| at > self.now), "time goes on");
        }
        self.now = end;
    }
}

#[test]
fn servers_are_asked_one_after_the_other_from_every_address_that_reaches_them() {
    let mut bench = Bench::new(&[
        "192.0.2.1:1000",
        "192.0.2.2:1000",
        "[2001:db8::1]:1000",
        "127.0.0.1:1000",
    ]);
    bench.begin(&[
        "stun:203.0.113.1",
        "turn:[2001:db8::9]:99",
        "stun:203.0.113.1",
    ]);
    let mut all = bench.sent();
    assert_eq!(all.len(), 1, "the first goes at once");
    for _ in 0..2 {
        let next = bench.gatherer.poll_timeout().unwrap();
        assert_eq!(next - bench.now, Duration::from_millis(50));
        bench.now = next;
        bench.gatherer.handle_timeout(next, &bench.agent);
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        all.extend(sent);
    }
    let mut pairs: Vec<_> = all.iter().map(|it| (it.local_addr, it.peer_addr)).collect();
    pairs.sort_unstable();
    assert_eq!(
        pairs,
        [
            (addr("192.0.2.1:1000"), addr("203.0.113.1:3478")),
            (addr("192.0.2.2:1000"), addr("203.0.113.1:3478")),
            (addr("[2001:db8::1]:1000"), addr("[2001:db8::9]:99")),
        ]
    );
    assert!(bench.gatherer.is_gathering());
    bench.run(Duration::from_secs(20));
    assert!(!bench.gatherer.is_gathering());
    let errors = bench.errors();
    assert_eq!(errors.len(), 3);
    assert!(errors.iter().all(|(_, code)| *code == 701));
}

#[test]
fn requests_that_nobody_answers_fail_in_time() {
    let mut bench = Bench::new(&["192.0.2.1:1000"]);
    bench.begin(&["stun:a.example", "turn:203.0.113.1?transport=tcp"]);
    let requests = bench.requests();
    assert!(
        matches!(
            &requests[..],
            [
                RTCRequest::ResolveHost { .. },
                RTCRequest::OpenStream { .. }
            ]
        ),
        "{requests:?}"
    );
    bench.run(Duration::from_secs(9));
    assert!(bench.gatherer.is_gathering());
    bench.run(Duration::from_secs(10));
    assert!(!bench.gatherer.is_gathering());
    assert_eq!(bench.errors().len(), 2);
    assert!(matches!(
        bench.requests()[..],
        [RTCRequest::CloseStream { .. }]
    ));
    // Late answers are of nobody.
    for request in requests {
        match request {
            RTCRequest::ResolveHost { id, .. } => {
                let answer = RTCAnswer::Addresses(vec![addr("203.0.113.1:0").ip()]);
                assert!(!bench.gatherer.handle_answer(bench.now, id, &answer));
            }
            RTCRequest::OpenStream { id, peer_addr, .. } => {
                let local_addr = addr("192.0.2.1:5000");
                let answer = RTCAnswer::Opened {
                    local_addr,
                    peer_addr,
                };
                assert!(!bench.gatherer.handle_answer(bench.now, id, &answer));
                assert_eq!(bench.requests(), [RTCRequest::CloseStream { id }]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_next_address_of_a_name_is_tried_before_anything_is_told() {
    let mut bench = Bench::new(&["192.0.2.1:1000"]);
    bench.begin(&["stun:a.example"]);
    let [RTCRequest::ResolveHost { id, .. }] = bench.requests()[..] else {
        panic!("a name")
    };
    let ips = ["2001:db8::1", "203.0.113.1", "203.0.113.2"];
    let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    bench
        .gatherer
        .handle_answer(bench.now, id, &RTCAnswer::Addresses(ips));
    assert_eq!(bench.sent()[0].peer_addr, addr("203.0.113.1:3478"));
    let start = bench.now;
    let second = loop {
        bench.now = bench.gatherer.poll_timeout().unwrap();
        bench.gatherer.handle_timeout(bench.now, &bench.agent);
        let sent = bench.sent();
        if let Some(path) = sent
            .iter()
            .find(|it| it.peer_addr != addr("203.0.113.1:3478"))
        {
            break path.peer_addr;
        }
    };
    assert_eq!(second, addr("203.0.113.2:3478"));
    assert!(bench.now - start < Duration::from_secs(15));
    assert_eq!(bench.errors(), []);
    bench.run(Duration::from_secs(20));
    assert_eq!(bench.errors(), [("stun:a.example".to_owned(), 701)]);
}

#[test]
fn an_interface_that_goes_takes_what_was_asked_from_it() {
    let mut bench = Bench::new(&["192.0.2.1:1000", "192.0.2.2:1000"]);
    bench.begin(&["stun:203.0.113.1"]);
    bench.run(Duration::from_millis(200));
    bench.gatherer.remove_base(addr("192.0.2.1:1000"));
    bench.gatherer.remove_base(addr("192.0.2.2:1000"));
    assert!(!bench.gatherer.is_gathering());
    assert!(!bench.gatherer.is_active());
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.errors(), []);
}

#[test]
fn whatever_a_server_sends_nothing_breaks() {
    for seed in 0..200_u64 {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut rng = Rng::from_seed(bytes);
        let mut bench = Bench::new(&["192.0.2.1:1000"]);
        bench.begin(&["stun:203.0.113.1", "turn:203.0.113.1"]);
        let transport = TransportContext {
            local_addr: addr("192.0.2.1:1000"),
            peer_addr: addr("203.0.113.1:3478"),
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        for _ in 0..100 {
            let mut answers: Vec<Vec<u8>> = Vec::new();
            while let Some(message) = bench.gatherer.poll_transmit() {
                let mut id = [0; 12];
                id.copy_from_slice(&message.message[8..20]);
                let class = [Class::Success, Class::Error][rng.below(2) as usize];
                let method = [Method::BINDING, Method::ALLOCATE][rng.below(2) as usize];
                let code = 300 + rng.below(400) as u16;
                let answer = MessageBuilder::new(class, method, TransactionId(id))
                    .error_code(code, "reason")
                    .xor_mapped_address(addr("198.51.100.1:1"))
                    .realm("realm")
                    .nonce(b"nonce");
                let mut answer = answer.finish().to_vec();
                if rng.below(2) == 0 {
                    let place = rng.below(answer.len() as u32) as usize;
                    answer[place] ^= 1 << rng.below(8);
                }
                answers.push(answer);
            }
            let mut junk = vec![0; rng.below(100) as usize];
            junk.iter_mut()
                .for_each(|byte| *byte = rng.below(256) as u8);
            if let Some(first) = junk.first_mut() {
                *first &= 0x4f;
            }
            answers.push(junk);
            for answer in answers {
                let received = bench.gatherer.handle_read(bench.now, &transport, &answer);
                if let Received::Data { payload, .. } = received {
                    assert!(payload.end <= answer.len());
                }
            }
            bench.run(Duration::from_millis(u64::from(rng.below(2000))));
            bench.requests();
        }
        bench.gatherer.close(bench.now);
        bench.run(Duration::from_secs(10));
        assert!(bench.gatherer.is_drained(), "seed {seed}");
        assert!(bench.gatherer.poll_timeout().is_none(), "seed {seed}");
    }
}
