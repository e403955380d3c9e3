//! `POST /containers/{id}/update`: other limits for a running container.

use std::rc::Rc;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::events::Event;
use crate::response::{self, Response};
use crate::stats::Update;

/// The period of CPU limits in microseconds where the client names none.
const DEFAULT_PERIOD: i64 = 100_000;

/// What clients send; they send all fields, and 0 or nothing for what is to stay.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    memory: i64,
    memory_swap: i64,
    memory_reservation: i64,
    kernel_memory: i64,
    nano_cpus: i64,
    cpu_quota: i64,
    cpu_period: i64,
    cpu_realtime_period: i64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    cpu_shares: i64,
    blkio_weight: i64,
    pids_limit: Option<i64>,
    restart_policy: RestartPolicy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartPolicy {
    name: String,
}

/// `POST /containers/{id}/update`.
pub(super) async fn update<E: Engine>(
    mut context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let request: Request = context.json().await?;
    let update = request.read()?;
    let mut warnings = context.engine.update(&container, &update).await?;
    if request.memory_swap != 0 {
        warnings.push("A pod has no swap: the limit of memory and swap is the limit of memory.".into());
    }
    context.engine.events().push(Event::now(&container, "update", &[]));
    let warnings = (!warnings.is_empty()).then_some(warnings);
    response::json(StatusCode::OK, &json!({ "Warnings": warnings }))
}

impl Request {
    fn read(&self) -> Result<Update, EngineError> {
        self.refuse_unknown()?;
        Ok(Update {
            memory: positive("Memory", self.memory)?,
            pids: self.pids_limit.filter(|&pids| pids != 0).map(|pids| u64::try_from(pids).unwrap_or(0)),
            cpu_millis: self.cpu_millis()?,
            cpu_shares: positive("CpuShares", self.cpu_shares)?,
        })
    }

    /// What a pod cannot do is refused, so that nobody believes it done.
    fn refuse_unknown(&self) -> Result<(), EngineError> {
        let wanted = [
            ("MemoryReservation", self.memory_reservation != 0),
            ("KernelMemory", self.kernel_memory != 0),
            ("CpuRealtimePeriod", self.cpu_realtime_period != 0),
            ("CpuRealtimeRuntime", self.cpu_realtime_runtime != 0),
            ("CpusetCpus", !self.cpuset_cpus.is_empty()),
            ("CpusetMems", !self.cpuset_mems.is_empty()),
            ("BlkioWeight", self.blkio_weight != 0),
            ("RestartPolicy", !self.restart_policy.name.is_empty()),
        ];
        match wanted.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => {
                Err(EngineError::BadRequest(format!("{name} of a pod's container cannot be changed")))
            }
            None => Ok(()),
        }
    }

    fn cpu_millis(&self) -> Result<Option<u64>, EngineError> {
        let has_quota = self.cpu_quota != 0 || self.cpu_period != 0;
        match (self.nano_cpus, has_quota) {
            (0, false) => Ok(None),
            (0, true) => self.quota_millis().map(Some),
            (_, true) => Err(EngineError::BadRequest(
                "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set".into(),
            )),
            // What is asked for is never rounded down to no limit.
            (nanos, false) => Ok(positive("NanoCpus", nanos)?.map(|nanos| nanos.div_ceil(1_000_000))),
        }
    }

    fn quota_millis(&self) -> Result<u64, EngineError> {
        let period = if self.cpu_period == 0 { DEFAULT_PERIOD } else { self.cpu_period };
        if !(1000..=1_000_000).contains(&period) {
            return Err(EngineError::BadRequest(
                "CPU cfs period cannot be less than 1ms or larger than 1s".into(),
            ));
        }
        match self.cpu_quota {
            0 => Err(EngineError::BadRequest("CpuPeriod is of no use without CpuQuota".into())),
            ..0 => Ok(0),
            1..1000 => Err(EngineError::BadRequest("CPU cfs quota cannot be less than 1ms".into())),
            quota => Ok(quota.saturating_mul(1000).unsigned_abs().div_ceil(period.unsigned_abs())),
        }
    }
}

fn positive(name: &str, number: i64) -> Result<Option<u64>, EngineError> {
    let number =
        u64::try_from(number).map_err(|_| EngineError::BadRequest(format!("{name} cannot be {number}")))?;
    Ok(Some(number).filter(|&number| number > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Update, EngineError> {
        serde_json::from_str::<Request>(json).unwrap().read()
    }

    #[test]
    fn zeros_leave_things_as_they_are() {
        let zeros = r#"{"CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","PidsLimit":null,"RestartPolicy":{"Name":"","MaximumRetryCount":0}}"#;
        assert_eq!(read(zeros).unwrap(), Update::default());
        assert_eq!(read("{}").unwrap(), Update::default());
    }

    #[test]
    fn limits_are_read() {
        let update =
            read(r#"{"Memory":8388608,"PidsLimit":10,"NanoCpus":1500000000,"CpuShares":512}"#).unwrap();
        let expected =
            Update { memory: Some(8 << 20), pids: Some(10), cpu_millis: Some(1500), cpu_shares: Some(512) };
        assert_eq!(update, expected);
        assert_eq!(read(r#"{"CpuQuota":50000}"#).unwrap().cpu_millis, Some(500));
        assert_eq!(read(r#"{"CpuQuota":50000,"CpuPeriod":25000}"#).unwrap().cpu_millis, Some(2000));
        assert_eq!(read(r#"{"CpuQuota":-1}"#).unwrap().cpu_millis, Some(0));
        assert_eq!(read(r#"{"NanoCpus":1}"#).unwrap().cpu_millis, Some(1));
        assert_eq!(read(r#"{"PidsLimit":-1}"#).unwrap().pids, Some(0));
        assert_eq!(read(r#"{"CpuQuota":9223372036854775807}"#).unwrap().cpu_millis, Some(92_233_720_368_548));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for json in [
            r#"{"Memory":-1}"#,
            r#"{"CpuShares":-5}"#,
            r#"{"NanoCpus":-1}"#,
            r#"{"NanoCpus":1,"CpuQuota":1000}"#,
            r#"{"CpuQuota":5}"#,
            r#"{"CpuPeriod":5,"CpuQuota":5000}"#,
            r#"{"CpuPeriod":50000}"#,
            r#"{"CpusetCpus":"0"}"#,
            r#"{"RestartPolicy":{"Name":"always"}}"#,
            r#"{"BlkioWeight":10}"#,
        ] {
            assert!(matches!(read(json), Err(EngineError::BadRequest(_))), "{json}");
        }
    }
}
