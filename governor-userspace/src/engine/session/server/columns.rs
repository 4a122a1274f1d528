//! Result columns and their rows: what a RowDescription means for the rows that follow, and each row by it.

use super::super::governance::Governance;
use super::super::meaning::{Basis, Meaning};
use super::super::pipeline::Expect;
use super::super::rows::ResultPlan;
use super::super::{Catalogue, Portal, Rows, Session, discovery, fault, visibility};
use super::Step;
use crate::engine::masking::{MaskCounts, mask_row};
use crate::engine::wire::postgres::ProtocolViolation;
use crate::engine::wire::postgres::backend::{self, kind};
use std::sync::Arc;

impl Session {
    /// A row that may hold something to mask.
    pub(super) fn masked_row(
        &mut self,
        body: &[u8],
        governance: &mut Governance,
    ) -> Result<Step, ProtocolViolation> {
        if let Rows::Copy(_) = &self.rows {
            return Err(ProtocolViolation::Other("DataRow comes inside a COPY"));
        }
        let Rows::Mask(plan) = &self.rows else {
            if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
                run.rows += 1;
            }
            return Ok(Step::Pass);
        };
        governance.row.clear();
        governance.row.shrink_to(ROW_BYTES_KEPT);
        let mut uncounted = (0, MaskCounts::default());
        let run = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut());
        let (rows, counts) = match run {
            Some(run) => (&mut run.rows, &mut run.masked),
            None => (&mut uncounted.0, &mut uncounted.1),
        };
        let changed = mask_row(&plan.rows, &governance.masker, body, &mut governance.row, counts)
            .map_err(|_| ProtocolViolation::Other("DataRow does not match its RowDescription"))?;
        let number = *rows;
        *rows += 1;
        self.learn(plan, body, number, governance);
        Ok(if changed { Step::Rewritten } else { Step::Pass })
    }

    /// RowDescription or NoData: the columns of what comes, or of what was asked about.
    pub(super) fn described(
        &mut self,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
    ) -> Result<Step, ProtocolViolation> {
        let fields = match message {
            kind::ROW_DESCRIPTION if self.may_be_masked => backend::row_description(body)?,
            _ => Vec::new(),
        };
        let front =
            self.pipeline.front().ok_or(ProtocolViolation::Other("RowDescription answers nothing"))?;
        let (expect_portal, own) = match &front.expect {
            Expect::Query => {
                if self.may_be_masked {
                    let source = front.run.as_ref().map(|run| run.source.clone());
                    self.rows = self.rows_for(&fields, None, source.as_ref(), governance);
                }
                return Ok(Step::Pass);
            }
            Expect::DescribeStatement { statement } => {
                let name = statement.clone();
                if self.may_be_masked
                    && let Some(prepared) = self.statements.confirmed_mut(&name)
                {
                    prepared.fields = Some(Arc::new(fields));
                }
                self.pipeline.pop();
                return Ok(Step::Pass);
            }
            Expect::DescribePortal { portal, own } => (portal.clone(), *own),
            _ => return Err(ProtocolViolation::Other("RowDescription answers something that has no rows")),
        };
        self.pipeline.pop();
        if self.may_be_masked {
            let source = self.portals.confirmed(&expect_portal).and_then(portal_source);
            let plan = match self.rows_for(&fields, None, source.as_ref(), governance) {
                Rows::Mask(plan) => plan,
                _ => Arc::new(ResultPlan {
                    rows: visibility::show_all(&fields),
                    reading: self.reading_of(source.as_ref(), governance),
                    ..ResultPlan::default()
                }),
            };
            if let Some(portal) = self.portals.confirmed_mut(&expect_portal) {
                portal.plan = Some(plan);
            } else {
                // A cursor of SQL DECLARE: remembered under its name for the Execute that follows.
                self.cursor_plan = Some(Box::new((expect_portal, plan)));
            }
        }
        Ok(if own { Step::Drop } else { Step::Pass })
    }

    fn rows_for(
        &self,
        fields: &[backend::Field],
        formats: Option<&[i16]>,
        source: Option<&Meaning>,
        governance: &mut Governance,
    ) -> Rows {
        fault::guarded("rows", || self.plan_rows(fields, formats, source, governance)).unwrap_or_else(|| {
            let rows = visibility::hide_all(fields, formats);
            Rows::Mask(Arc::new(ResultPlan { rows, ..ResultPlan::default() }))
        })
    }

    fn plan_rows(
        &self,
        fields: &[backend::Field],
        formats: Option<&[i16]>,
        source: Option<&Meaning>,
        governance: &mut Governance,
    ) -> Rows {
        let catalogue = match source.map(|source| &source.basis) {
            Some(Basis::Doubt) if self.hides_unknown(governance) => {
                let rows = visibility::hide_all(fields, formats);
                return Rows::Mask(Arc::new(ResultPlan { rows, ..ResultPlan::default() }));
            }
            Some(Basis::Checked(catalogue)) => Some(self.ruled_now(catalogue, governance)),
            _ => self.trusted_catalogue(governance).cloned(),
        };
        // One that counts for nothing any more still says what was sensitive.
        let known = catalogue.as_ref().or(self.catalogue.as_ref());
        let lineage = visibility::lineage_for(fields, source, known, &mut governance.flows);
        let mut asker = self.asker(governance);
        let origin = visibility::Origin {
            statement: source.map(|source| &*source.statement),
            catalogue: known.map(|catalogue| &**catalogue),
            is_trusted: catalogue.is_some(),
            lineage: lineage.as_deref(),
        };
        let rows = visibility::row_plan(fields, formats, origin, &mut asker);
        if rows.is_passive() {
            return Rows::Pass;
        }
        let watched = match &catalogue {
            Some(catalogue) if governance.discovery.settings().enabled => {
                discovery::watched(fields, &rows, catalogue, lineage.as_deref())
            }
            _ => Box::default(),
        };
        let reading = known.map_or(0, |catalogue| catalogue.reading);
        Rows::Mask(Arc::new(ResultPlan { rows, watched, reading }))
    }

    /// The catalogue, unless definitions changed since it was read: then everything is in doubt.
    pub(in crate::engine::session) fn trusted_catalogue(
        &self,
        governance: &Governance,
    ) -> Option<&Arc<Catalogue>> {
        let mine = self.catalogue.as_ref().filter(|_| !self.catalogue_outdated)?;
        governance.is_trusted(self.setup.destination.clone(), &self.claims.database, mine).then_some(mine)
    }

    /// The reading of the catalogue that rows are planned by.
    fn reading_of(&self, source: Option<&Meaning>, governance: &Governance) -> u64 {
        match source.map(|source| &source.basis) {
            Some(Basis::Checked(catalogue)) => catalogue.reading,
            _ => self.trusted_catalogue(governance).map_or(0, |catalogue| catalogue.reading),
        }
    }

    /// A catalogue that a statement was judged by, under the rulings that hold now.
    pub(in crate::engine::session) fn ruled_now(
        &self,
        catalogue: &Arc<Catalogue>,
        governance: &mut Governance,
    ) -> Arc<Catalogue> {
        governance.ruled_for(self.setup.destination.clone(), &self.claims.database, catalogue.clone())
    }

    /// The first row of a result: how are its rows treated?
    pub(super) fn decide_rows(&mut self, governance: &mut Governance) -> Result<(), ProtocolViolation> {
        let Some(owed) = self.pipeline.front() else {
            return Err(ProtocolViolation::Other("DataRow answers nothing"));
        };
        if !self.may_be_masked && !matches!(owed.expect, Expect::OwnQuery | Expect::OwnCheck) {
            self.rows = Rows::Pass;
            return Ok(());
        }
        self.rows = match &owed.expect {
            // Its rows go to the catalogue reader.
            Expect::OwnQuery | Expect::OwnCheck => Rows::Undecided,
            Expect::Execute { portal } => {
                let portal_name = portal.clone();
                let basis = owed.run.as_ref().map(|run| run.source.basis.clone()).unwrap_or_default();
                match self.portals.confirmed_mut(&portal_name).map(|p| p.clone()) {
                    Some(p) => match (&p.plan, &p.fields, &p.formats) {
                        (Some(plan), _, _) if self.plan_is_in_doubt(plan, &basis, governance) => {
                            Rows::Mask(Arc::new(plan.hidden()))
                        }
                        (Some(plan), _, _) if plan.is_passive() => Rows::Pass,
                        (Some(plan), _, _) => Rows::Mask(plan.clone()),
                        (None, Some(fields), Some(formats)) => {
                            self.rows_for(fields, Some(formats), portal_source(&p).as_ref(), governance)
                        }
                        _ => return Err(ProtocolViolation::Other("rows came whose columns are not known")),
                    },
                    None => match self.cursor_plan.take() {
                        Some(of_cursor) if of_cursor.0 == portal_name => {
                            let plan = of_cursor.1.clone();
                            self.cursor_plan = Some(of_cursor);
                            if self.plan_is_in_doubt(&plan, &basis, governance) {
                                Rows::Mask(Arc::new(plan.hidden()))
                            } else if plan.is_passive() {
                                Rows::Pass
                            } else {
                                Rows::Mask(plan)
                            }
                        }
                        _ => return Err(ProtocolViolation::Other("rows came whose columns are not known")),
                    },
                }
            }
            _ => return Err(ProtocolViolation::Other("rows came without a RowDescription")),
        };
        Ok(())
    }
}

/// The one statement of a portal, or what it stands for; `None` where there are several, or none that is known.
fn portal_source(portal: &Portal) -> Option<Meaning> {
    match (&portal.means, &*portal.statements) {
        (Some(means), [_]) if matches!(means.basis, Basis::Newest) => {
            Some(Meaning { basis: portal.basis.clone(), ..means.clone() })
        }
        (Some(means), [_]) => Some(means.clone()),
        (None, [one]) => Some(Meaning {
            statement: one.clone(),
            state: portal.state.clone(),
            approved: false,
            basis: portal.basis.clone(),
        }),
        _ => None,
    }
}

/// Room for a masked row that is kept for the next one.
const ROW_BYTES_KEPT: usize = 64 << 10;
