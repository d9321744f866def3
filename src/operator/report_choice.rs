//! In which API reports are written: which are wanted, and which are served.

use std::collections::{BTreeMap, BTreeSet};

use immutable_core::report::ReportApi;

/// Which reports are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportsMode {
    /// openreports if it is served, else wgpolicyk8s, else none
    #[default]
    Auto,
    /// `Report` of openreports.io/v1alpha1
    #[value(name = "openreports")]
    OpenReports,
    /// `PolicyReport` of wgpolicyk8s.io/v1alpha2
    #[value(name = "wgpolicyk8s")]
    WgPolicy,
    /// no reports; those that were written are removed
    None,
}

impl ReportsMode {
    /// The APIs that it takes, the preferred one first.
    fn takes(self) -> &'static [ReportApi] {
        match self {
            Self::Auto => &ReportApi::ALL,
            Self::OpenReports => &[ReportApi::OpenReports],
            Self::WgPolicy => &[ReportApi::WgPolicy],
            Self::None => &[],
        }
    }

    /// The one API that it insists on.
    pub(super) fn insists_on(self) -> Option<ReportApi> {
        match self {
            Self::OpenReports => Some(ReportApi::OpenReports),
            Self::WgPolicy => Some(ReportApi::WgPolicy),
            Self::Auto | Self::None => None,
        }
    }
}

/// What the API server last said of each API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// Whether it is served, or, where that was never said, why not.
    answers: BTreeMap<ReportApi, Result<bool, String>>,
}

impl Served {
    /// Takes in what was said of one. No answer is no news where there was one before.
    pub(super) fn take_in(&mut self, api: ReportApi, answer: Result<bool, String>) {
        if answer.is_ok() || !matches!(self.answers.get(&api), Some(Ok(_))) {
            self.answers.insert(api, answer);
        }
    }

    /// Whether every API was answered for.
    pub(super) fn is_complete(&self) -> bool {
        ReportApi::ALL.iter().all(|api| matches!(self.answers.get(api), Some(Ok(_))))
    }

    /// Those that are served.
    pub(super) fn apis(&self) -> BTreeSet<ReportApi> {
        self.answers.iter().filter(|(_, answer)| **answer == Ok(true)).map(|(api, _)| *api).collect()
    }

    /// The API to write to; none where none is served. It is an error, with the reason if there is one yet, where
    /// nothing is known of a preferred one: what is written to another then would soon be moved.
    pub(super) fn choose(&self, mode: ReportsMode) -> Result<Option<ReportApi>, Option<String>> {
        for api in mode.takes() {
            match self.answers.get(api) {
                Some(Ok(true)) => return Ok(Some(*api)),
                Some(Ok(false)) => {}
                Some(Err(why)) => {
                    return Err(Some(format!("it is not known whether {} is served: {why}", api.api_version())));
                }
                None => return Err(None),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const OPEN: ReportApi = ReportApi::OpenReports;
    const WG: ReportApi = ReportApi::WgPolicy;

    #[test]
    fn nothing_is_chosen_before_the_preferred_api_was_answered_for() {
        let mut served = Served::default();
        assert_eq!(served.choose(ReportsMode::Auto), Err(None));
        served.take_in(OPEN, Err("no route to host".to_owned()));
        served.take_in(WG, Ok(true));
        let why = served.choose(ReportsMode::Auto).unwrap_err().unwrap();
        assert_eq!(why, "it is not known whether openreports.io/v1alpha1 is served: no route to host");
        assert_eq!(served.choose(ReportsMode::WgPolicy), Ok(Some(WG)), "nobody asked for the other");
        assert_eq!(served.choose(ReportsMode::None), Ok(None));
        assert!(!served.is_complete());
        let mut without = served.clone();
        without.take_in(OPEN, Ok(false));
        assert_eq!(without.choose(ReportsMode::Auto), Ok(Some(WG)));
        served.take_in(OPEN, Ok(true));
        assert_eq!(served.choose(ReportsMode::Auto), Ok(Some(OPEN)));
        assert!(served.is_complete());
    }

    #[test]
    fn an_error_keeps_the_last_answer() {
        let mut served = Served::default();
        for api in ReportApi::ALL {
            served.take_in(api, Err("no".to_owned()));
        }
        assert!(served.apis().is_empty() && served.choose(ReportsMode::Auto).is_err());
        served.take_in(OPEN, Ok(true));
        served.take_in(OPEN, Err("no".to_owned()));
        assert_eq!(served.choose(ReportsMode::Auto), Ok(Some(OPEN)), "whatever the other is");
        assert_eq!(served.apis(), BTreeSet::from([OPEN]));
        served.take_in(OPEN, Ok(false));
        served.take_in(WG, Ok(false));
        assert_eq!(served.choose(ReportsMode::Auto), Ok(None));
    }
}
