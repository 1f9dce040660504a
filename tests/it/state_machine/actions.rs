//! The actions of clients, operator, clock and machine, and how often each is drawn.

use proptest::prelude::*;

/// An action at one of the nodes.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub node: usize,
    pub action: Action,
}

/// Which of the client's tokens a sign-out presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    Both,
    Access,
    Refresh,
    Neither,
}

/// `with_cookies`: the client's cookies are sent. `lost`: the answer does not arrive. `pick`: an index from the newest
/// backwards.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    Register {
        client: usize,
        account: usize,
        with_cookies: bool,
        lost: bool,
    },
    SignIn {
        client: usize,
        account: usize,
        right: bool,
        with_cookies: bool,
        lost: bool,
    },
    /// `GET /auth/me` with the client's cookies.
    Me {
        client: usize,
    },
    /// `GET /auth/me` with any access token that was ever issued.
    Check {
        pick: usize,
    },
    Refresh {
        client: usize,
        in_body: bool,
        lost: bool,
    },
    /// Sends any refresh token that was ever issued; the answer is discarded.
    Respend {
        pick: usize,
    },
    /// Tokens of another service, and access and refresh token in each other's place.
    Forge,
    SignOut {
        client: usize,
        with: With,
        lost: bool,
    },
    SignOutEverywhere {
        client: usize,
        with: With,
    },
    ChangePassword {
        client: usize,
        right: bool,
        to: usize,
        lost: bool,
    },
    List {
        client: usize,
    },
    /// Ends any session that ever existed.
    End {
        client: usize,
        pick: usize,
    },
    SetStatus {
        account: usize,
        status: usize,
    },
    SetRole {
        account: usize,
        role: usize,
    },
    CleanUp,
    /// A step of every node's clock, in seconds.
    Clock {
        by: i64,
    },
    Restart,
    /// Checks the newest access tokens at every node.
    Sweep,
}

/// A sequence of at most this many steps. Every shorter one is valid too, so that a failing one can be shrunk.
pub fn steps(nodes: usize, longest: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..nodes, action()).prop_map(|(node, action)| Step { node, action });
    prop::collection::vec(step, 1..=longest)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        62 => by_clients(),
        12 => by_strangers(),
        9 => around_them(),
        12 => clock().prop_map(|by| Action::Clock { by }),
    ]
}

fn by_clients() -> impl Strategy<Value = Action> {
    let client = || 0..3_usize;
    let account = || 0..2_usize;
    let (mostly, seldom) = (|| prop::bool::weighted(0.8), || prop::bool::weighted(0.25));
    prop_oneof![
        1 => (client(), account(), any::<bool>(), seldom())
            .prop_map(|(client, account, with_cookies, lost)| Action::Register { client, account, with_cookies, lost }),
        12 => (client(), account(), mostly(), any::<bool>(), seldom())
            .prop_map(|(client, account, right, with_cookies, lost)| Action::SignIn { client, account, right, with_cookies, lost }),
        10 => client().prop_map(|client| Action::Me { client }),
        20 => (client(), seldom(), seldom())
            .prop_map(|(client, in_body, lost)| Action::Refresh { client, in_body, lost }),
        5 => (client(), with(), seldom()).prop_map(|(client, with, lost)| Action::SignOut { client, with, lost }),
        2 => (client(), with()).prop_map(|(client, with)| Action::SignOutEverywhere { client, with }),
        5 => (client(), mostly(), 0..3_usize, seldom())
            .prop_map(|(client, right, to, lost)| Action::ChangePassword { client, right, to, lost }),
        4 => client().prop_map(|client| Action::List { client }),
        4 => (client(), 0..9_usize).prop_map(|(client, pick)| Action::End { client, pick }),
    ]
}

fn with() -> impl Strategy<Value = With> {
    prop_oneof![4 => Just(With::Both), 2 => Just(With::Access), 3 => Just(With::Refresh), 1 => Just(With::Neither)]
}

fn by_strangers() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..20_usize).prop_map(|pick| Action::Check { pick }),
        8 => (0..6_usize).prop_map(|pick| Action::Respend { pick }),
        1 => Just(Action::Forge),
        2 => Just(Action::Sweep),
    ]
}

fn around_them() -> impl Strategy<Value = Action> {
    let account = || 0..2_usize;
    prop_oneof![
        2 => (account(), prop_oneof![2 => Just(0_usize), 1 => 1..4_usize])
            .prop_map(|(account, status)| Action::SetStatus { account, status }),
        1 => (account(), 0..2_usize).prop_map(|(account, role)| Action::SetRole { account, role }),
        3 => Just(Action::CleanUp),
        1 => Just(Action::Restart),
    ]
}

/// Around the skew, the grace, twice the grace and the time for lost answers, their sum, an access token's lifetime, a
/// session's idle and absolute expiry.
fn clock() -> impl Strategy<Value = i64> {
    let near = prop::sample::select(&[1_i64, 5, 6, 29, 30, 31, 60, 61, 62, 119, 121][..]);
    let far = prop::sample::select(&[890_i64, 899, 900, 901, 3600, 4 * 3600, 8 * 3600, 13 * 3600][..]);
    let signed =
        |by: BoxedStrategy<i64>| (by, prop::bool::weighted(0.2)).prop_map(|(by, back)| if back { -by } else { by });
    prop_oneof![8 => signed(near.boxed()), 2 => signed(far.boxed())]
}
