//! What a mailbox may be used for. Open is a *set* of services.

use std::fmt;
use std::str::FromStr;

/// One use of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Service {
    /// Reading and sending in a browser.
    Webmail = 0,
    /// IMAP access.
    Imap = 1,
    /// POP3 access.
    Pop = 2,
    /// Sending through the submission service.
    Submission = 3,
    /// Delivery of incoming mail.
    Delivery = 4,
}

impl Service {
    /// Every service, in the order in which sets are written.
    pub const ALL: [Self; 5] = [Self::Webmail, Self::Imap, Self::Pop, Self::Submission, Self::Delivery];

    /// The word operators and plans use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webmail => "webmail",
            Self::Imap => "imap",
            Self::Pop => "pop",
            Self::Submission => "submission",
            Self::Delivery => "delivery",
        }
    }
}

/// A text names no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a service; the services are webmail, imap, pop, submission and delivery")]
pub struct ServiceError;

impl FromStr for Service {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        Self::ALL.into_iter().find(|service| service.name() == text).ok_or(ServiceError)
    }
}

/// A set of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceSet(u8);

impl ServiceSet {
    /// Nothing: closed.
    pub const NONE: Self = Self(0);
    /// Every service.
    pub const ALL: Self = Self(0b1_1111);

    /// The set in its bit form, bit n standing for the service of value n; `None` when an unknown bit is set.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// The bit form.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// This set with one more service.
    #[must_use]
    pub const fn with(self, service: Service) -> Self {
        Self(self.0 | 1 << service as u8)
    }

    /// Services in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Services in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the service is in the set.
    #[must_use]
    pub const fn contains(self, service: Service) -> bool {
        self.0 & 1 << service as u8 != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The services in the set, in writing order.
    pub fn iter(self) -> impl Iterator<Item = Service> {
        Service::ALL.into_iter().filter(move |service| self.contains(*service))
    }
}

impl FromIterator<Service> for ServiceSet {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        services.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for ServiceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.pad("none");
        }
        f.pad(&self.iter().map(Service::name).collect::<Vec<_>>().join(","))
    }
}
