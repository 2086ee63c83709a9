//! Questions about the present state.

use std::str::FromStr;

use rientro_engine::Engine;
use rientro_types::{
    CampaignId, CellTime, HeldReason, MailboxGone, MailboxId, MailboxView, NameError, Refusal, ShardId,
    ShardView,
};
use rientro_wire::limits::{MAILBOX_VIEWS_MAX, MISSING_NAMED_MAX, NODES_PER_PAGE_MAX, SHARDS_PER_PAGE_MAX};
use rientro_wire::operator::{
    CellAnswer, ForecastPart, MailboxAnswer, MailboxQuery, ShardAnswer, ShardsQuery, forecast_pieces,
};
use rientro_wire::{ConvertError, Problem, v1};
use tonic::{Response, Status};

use super::{Answers, BUILD, Operators};
use crate::directory::{Gone, Listed};
use crate::journal::Journal;
use crate::{state_dir, status};

/// A name in a request that has no word of its own.
fn name<T: FromStr<Err = NameError>>(field: &str, text: &str) -> Result<T, Status> {
    let named = |error| ConvertError { field: field.to_owned(), problem: Problem::Name(error) };
    text.parse().map_err(|error| named(error).into())
}

impl<J: Journal> Operators<J> {
    pub(super) async fn look_cell(&self) -> Result<v1::GetCellResponse, Status> {
        let cell = self.handle.ask(Engine::cell_view).await?;
        let cell = cell.ok_or_else(status::being_founded)?;
        let (trouble, nodes_ahead) = (self.handle.trouble(), self.handle.nodes_ahead());
        Ok(CellAnswer { cell, build: BUILD.to_owned(), trouble, nodes_ahead }.into())
    }

    pub(super) async fn look_nodes(&self) -> Result<Response<Answers<v1::ListNodesResponse>>, Status> {
        let nodes = self.handle.ask(|engine| engine.node_views().collect::<Vec<_>>()).await?;
        self.stream(|sink| async move {
            let mut nodes = nodes.into_iter().map(Into::into).peekable();
            while nodes.peek().is_some() {
                let page = nodes.by_ref().take(NODES_PER_PAGE_MAX).collect();
                if sink.send(v1::ListNodesResponse { nodes: page }).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) fn look_shards(
        &self,
        query: ShardsQuery,
    ) -> Result<Response<Answers<v1::ListShardsResponse>>, Status> {
        let handle = self.handle.clone();
        self.stream(|sink| async move {
            let ShardsQuery { selector, mut after, max } = query;
            let mut left = if max == 0 { u64::MAX } else { max };
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(SHARDS_PER_PAGE_MAX);
                let selector = selector.clone();
                let page: Vec<ShardView> =
                    handle.ask(move |engine| engine.shard_views(&selector, after, wanted)).await?;
                let last = page.len() < wanted;
                after = page.last().map(|view| view.shard.shard);
                left -= page.len() as u64;
                let shards: Vec<v1::ShardView> = page.into_iter().map(Into::into).collect();
                let gone = !shards.is_empty() && sink.send(v1::ListShardsResponse { shards }).await.is_err();
                if last || gone {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) async fn look_shard(&self, shard: &str) -> Result<v1::GetShardResponse, Status> {
        let id: ShardId = name("shard", shard)?;
        let view = self.handle.ask(move |engine| engine.shard_view(id)).await?;
        let view = view.ok_or_else(|| status::refused(&Refusal::ShardUnknown(id)))?;
        let (missing, missing_known) = match view.shard.blocked.as_ref().map(|hold| &hold.reason) {
            Some(HeldReason::MailboxesMissing { .. }) => {
                let missing = self.directory.missing(id, MISSING_NAMED_MAX).await;
                missing.map_err(|error| status::directory(&error))?
            }
            _ => (Vec::new(), 0),
        };
        Ok(ShardAnswer { shard: view, missing, missing_known }.into())
    }

    pub(super) async fn look_mailbox(&self, query: MailboxQuery) -> Result<v1::FindMailboxResponse, Status> {
        let mailbox = match query {
            MailboxQuery::Address(address) => MailboxId::of_address(&self.mailbox_key, &address),
            MailboxQuery::Mailbox(mailbox) => mailbox,
        };
        let found = self.directory.find(mailbox, MAILBOX_VIEWS_MAX).await;
        let shards = found.map_err(|error| status::directory(&error))?;
        let views: Vec<MailboxView> = self
            .handle
            .ask(move |engine| {
                let view = |Listed { shard, since }| {
                    engine.shard_view(shard).map(|view| mailbox_view(mailbox, since, view))
                };
                shards.into_iter().filter_map(view).collect()
            })
            .await?;
        let gone = if views.is_empty() { self.look_gone(mailbox).await? } else { Vec::new() };
        Ok(MailboxAnswer { mailbox, views, gone }.into())
    }

    async fn look_gone(&self, mailbox: MailboxId) -> Result<Vec<MailboxGone>, Status> {
        let gone = self.directory.find_gone(mailbox, MAILBOX_VIEWS_MAX).await;
        let gone = gone.map_err(|error| status::directory(&error))?;
        let shown = |engine: &Engine, Gone { shard, listed, missed, served }: Gone| {
            engine.shard_view(shard).map(|shard| MailboxGone { listed, missed, served, shard })
        };
        let views = move |engine: &Engine| gone.into_iter().filter_map(|gone| shown(engine, gone)).collect();
        Ok(self.handle.ask(views).await?)
    }

    pub(super) async fn forecast(
        &self,
        request: v1::CheckPlanRequest,
    ) -> Result<Response<Answers<v1::CheckPlanResponse>>, Status> {
        let missing = ConvertError { field: "plan".to_owned(), problem: Problem::Missing };
        let plan = request.plan.ok_or(missing)?;
        let plan = rientro_types::Plan::try_from(plan)
            .map_err(|error| ConvertError { field: inside("plan", &error.field), ..error })?;
        let (revision, seed) = (request.revision, state_dir::random());
        let forecast = move |engine: &Engine| {
            if revision { engine.forecast_revision(&plan) } else { engine.forecast(&plan, seed) }
        };
        let forecast = self.handle.ask(forecast).await?;
        self.stream(|sink| async move {
            let parts: Vec<ForecastPart> = match forecast {
                Err(problems) => vec![ForecastPart::Problems(problems)],
                Ok(waves) => waves.into_iter().flat_map(forecast_pieces).map(ForecastPart::Wave).collect(),
            };
            for part in parts {
                if sink.send(part).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) async fn look_campaigns(
        &self,
    ) -> Result<Response<Answers<v1::ListCampaignsResponse>>, Status> {
        let ids = self.handle.ask(|engine| engine.campaign_states().map(|(id, _)| id).collect::<Vec<_>>());
        let (ids, handle) = (ids.await?, self.handle.clone());
        self.stream(|sink| async move {
            for id in ids.into_iter().rev() {
                let Some(view) = handle.ask(move |engine| engine.campaign_view(id)).await? else { continue };
                let campaign = Some(view.into());
                if sink.send(v1::ListCampaignsResponse { campaign }).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) async fn look_campaign(&self, campaign: &str) -> Result<v1::GetCampaignResponse, Status> {
        let id: CampaignId = name("campaign", campaign)?;
        let view = self.handle.ask(move |engine| engine.campaign_view(id)).await?;
        let view = view.ok_or_else(|| unknown_campaign(id))?;
        Ok(v1::GetCampaignResponse { campaign: Some(view.into()) })
    }
}

pub(super) fn unknown_campaign(id: CampaignId) -> Status {
    status::refused(&Refusal::CampaignUnknown(id))
}

fn inside(outer: &str, field: &str) -> String {
    if field.is_empty() { outer.to_owned() } else { format!("{outer}.{field}") }
}

/// A mailbox is open as its shard is, from when it was there: only a gate sets one apart, and none is registered.
fn mailbox_view(mailbox: MailboxId, listed: Option<CellTime>, shard: ShardView) -> MailboxView {
    let exception = shard.shard.exceptions.get(&mailbox).copied();
    let open = shard.shard.services;
    let since = listed.map_or(shard.shard.services_since, |listed| listed.max(shard.shard.services_since));
    MailboxView { mailbox, exception, open, since, listed, shard }
}
