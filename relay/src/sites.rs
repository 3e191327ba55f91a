//! Sites: whose pages may reach the relay, and what is particular to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use postern_shared::SiteId;

use crate::compat::Compat;
use crate::identity::{IdentityError, IdentityKeys};
use crate::limits::SiteLimits;
use crate::origins::Origins;
use crate::presence::Presence;
use crate::proof::Proofs;
use crate::secret::SecretHash;
use crate::store::{Identity, NewSite, SiteKey};

/// What a visitor is told whose message comes after the day's budget, in English.
const BUDGET_SPENT: &str =
    "We have answered as much as we can today. Your message is kept here and sent tomorrow.";

/// What a visitor is told of a message that was given up, in English.
const UNANSWERED: &str = "Sorry, this message could not be answered. Please try again later.";

/// A site as it is configured.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its id, which the embed line names.
    pub id: SiteId,
    /// The pages that may reach the relay.
    pub origins: Origins,
    /// Its poller's key, when the configuration has it; `postern-relay keys` makes others.
    pub api_key: Option<SecretHash>,
    /// The keys that its server signs identities with.
    pub identity_keys: IdentityKeys,
    /// Whether it takes only visitors that its server vouches for.
    pub verified_only: bool,
    /// What its visitors are told.
    pub texts: Texts,
    /// What its visitors may ask for.
    pub limits: SiteLimits,
    /// The other relay's contract that it serves, too.
    pub compat: Option<Compat>,
}

/// What the relay itself says to a site's visitors.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    /// Of a message that was given up.
    pub unanswered: String,
    /// Of a message that comes when the day's budget is spent.
    pub budget_spent: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self { unanswered: UNANSWERED.into(), budget_spent: BUDGET_SPENT.into() }
    }
}

impl Site {
    /// The site of a relay that has no other: pages of any origin reach it.
    pub fn only(api_key: Option<SecretHash>) -> Self {
        Self {
            id: SiteId::default(),
            origins: Origins::any(),
            api_key,
            identity_keys: IdentityKeys::default(),
            verified_only: false,
            texts: Texts::default(),
            limits: SiteLimits::default(),
            compat: None,
        }
    }

    /// What a visitor's call says of who it is.
    ///
    /// # Errors
    /// An [`IdentityError`] for the visitor's page.
    pub(crate) fn identify(&self, token: Option<&str>) -> Result<Identity, IdentityError> {
        let verified = token.map(|token| self.identity_keys.verify(token, &self.id)).transpose()?;
        Ok(Identity { verified, required: self.verified_only })
    }

    /// What the store has to know of it.
    pub fn stored(&self) -> NewSite {
        NewSite { id: self.id.clone(), unanswered: self.texts.unanswered.clone() }
    }
}

/// A site while the relay serves it.
#[derive(Debug)]
pub(crate) struct ServedSite {
    pub(crate) site: Site,
    pub(crate) key: SiteKey,
    pub(crate) presence: Presence,
    pub(crate) proofs: Proofs,
    /// The day, in days since 1970, on which the operator was last told that the budget is spent.
    pub(crate) told_of_budget: AtomicI64,
}

/// The sites that are served; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sites(Arc<Vec<Arc<ServedSite>>>, Arc<HashMap<SiteKey, usize>>);

impl Sites {
    pub(crate) fn new(sites: Vec<ServedSite>) -> Self {
        let by_key = sites.iter().enumerate().map(|(place, site)| (site.key, place)).collect();
        Self(Arc::new(sites.into_iter().map(Arc::new).collect()), Arc::new(by_key))
    }

    /// The site that a page names; where it names none, the only one or `default`.
    pub(crate) fn named(&self, name: Option<&str>) -> Option<&Arc<ServedSite>> {
        match (name, self.0.as_slice()) {
            (None, [only]) => Some(only),
            (name, sites) => {
                let default = SiteId::default();
                let name = name.unwrap_or(default.as_str());
                sites.iter().find(|served| served.site.id.as_str() == name)
            }
        }
    }

    pub(crate) fn of_key(&self, key: SiteKey) -> Option<&Arc<ServedSite>> {
        self.1.get(&key).and_then(|place| self.0.get(*place))
    }

    /// Whether some site serves another relay's contract.
    pub(crate) fn compat(&self) -> bool {
        self.iter().any(|served| served.site.compat.is_some())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedSite>> {
        self.0.iter()
    }
}
