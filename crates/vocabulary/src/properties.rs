//! What is true of all bytes, whoever made them up: asked of random ones by the tests of this crate, and of those that
//! libFuzzer breeds by `tests/fuzz`. Each function panics where its promise does not hold.

use bytes::Bytes;

use crate::{Job, MasterKey, SealError};

/// What is read as a job is written again as a job that reads the same, with nothing left over; bodies are not copied.
pub fn job(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(entries) = Job::decode_each(&bytes) else { return };
    assert!(entries.iter().all(|(entry, _)| entry.raw_event.clone().keepable().check().is_ok()), "what is kept can be");
    let Ok(job) = Job::decode(&bytes) else { return };

    let written = Bytes::from(job.encode());
    assert_eq!(Job::decode(&written).ok().as_ref(), Some(&job), "a job comes back as it went in");
    for entry in &job.entries {
        let body = entry.raw_event.body.as_ptr_range();
        assert!(body.is_empty() || bytes.as_ptr_range().contains(&body.start), "a body is a slice of the job");
    }

    let longer = Bytes::from([&bytes[..], &[0xc0]].concat());
    assert!(Job::decode(&longer).is_err(), "a job with something behind it is no job");
}

/// What nobody sealed does not open, whatever it is.
pub fn sealed(bytes: &[u8]) {
    let master = MasterKey::parse(&"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()).expect("32 bytes in base64");

    let refusal = master.open("source:wa", bytes).expect_err("nobody sealed this");

    let is_short = bytes.len() < 17 || bytes[0] != 1;
    assert!(!is_short || matches!(refusal, SealError::Damaged(_)), "{refusal}");
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::{collection::vec, option, prelude::*, sample::Index};

    use super::*;
    use crate::{Incarnation, JobEntry, RawEvent, Replay, Stamp, Undecodable};

    fn any_entry() -> impl Strategy<Value = JobEntry> {
        // The years 1 to 9999.
        let micros = -62_135_596_800_000_000..=253_402_300_799_999_999_i64;
        let headers = vec(("[^\0]{0,40}", "[^\0]{0,40}"), 0..4);
        let replay = ("[^\0]{0,40}", 0..=i64::MAX.unsigned_abs(), any::<Option<u32>>()).prop_map(
            |(incarnation, number, item)| Replay {
                stamp: Stamp { incarnation: Incarnation::new(&incarnation), number },
                item,
            },
        );
        let parts = ("[A-Za-z0-9_-]{1,64}", micros, headers, vec(any::<u8>(), 0..300), option::of(replay));
        parts.prop_map(|(id, micros, headers, body, replay)| JobEntry {
            raw_event: RawEvent {
                source_id: id.parse().unwrap(),
                received_at: DateTime::from_timestamp_micros(micros).unwrap(),
                headers,
                body: body.into(),
            },
            replay,
        })
    }

    /// Also one that Postgres could not keep, and one to the nanosecond, which no job has.
    fn any_raw_event() -> impl Strategy<Value = RawEvent> {
        let time = (-400_000_000_000..=400_000_000_000_i64, 0..1_000_000_000_u32);
        let headers = vec(("[\0a-z\u{e9}]{0,4}", "[\0a-z\u{e9}]{0,4}"), 0..4);
        (any_entry(), time, headers).prop_map(|(entry, (seconds, nanos), headers)| RawEvent {
            received_at: DateTime::from_timestamp(seconds, nanos).unwrap(),
            headers,
            ..entry.raw_event
        })
    }

    fn any_job() -> impl Strategy<Value = Job> {
        vec(any_entry(), 0..5).prop_map(|entries| Job { entries })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_job_comes_back_as_it_went_in(job in any_job()) {
            let bytes = Bytes::from(job.encode());

            prop_assert_eq!(Job::decode(&bytes).unwrap(), job);
            super::job(&bytes);
        }

        /// To the microsecond, which is what Postgres keeps.
        #[test]
        fn a_raw_event_passes_the_check_exactly_if_it_comes_back_as_it_went_in(raw_event in any_raw_event()) {
            let micros = raw_event.received_at.timestamp_micros();

            let read = Job::decode(&Job::of([raw_event.clone()]).encode().into());

            prop_assert_eq!(raw_event.check().is_ok(), read.is_ok());
            let written = RawEvent { received_at: DateTime::from_timestamp_micros(micros).unwrap(), ..raw_event };
            prop_assert!(read.is_err() || read.unwrap() == Job::of([written]));
        }

        #[test]
        fn a_job_that_was_cut_short_or_added_to_is_no_job(job in any_job(), cut in any::<Index>(), more in vec(any::<u8>(), 1..20)) {
            let bytes = job.encode();

            let short = Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]);
            prop_assert!(Job::decode(&short).is_err());
            let long = Bytes::from([bytes, more].concat());
            prop_assert!(Job::decode(&long).is_err());
        }

        #[test]
        fn bytes_that_are_nearly_a_job_are_read_or_refused(
            job in any_job(),
            changes in vec((any::<Index>(), any::<u8>()), 1..6),
            noise in vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = job.encode();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            super::job(&bytes);
            super::job(&noise);
            super::sealed(&noise);
        }

        #[test]
        fn a_job_of_another_version_is_refused_by_its_version(job in any_job(), version in 0..=0x7f_u8) {
            prop_assume!(version != 1);
            let mut bytes = job.encode();
            bytes[1] = version;

            let refused = Job::decode(&bytes.into());

            prop_assert!(matches!(refused, Err(Undecodable::Version(found)) if found == version), "{:?}", refused);
        }

        #[test]
        fn a_sealed_secret_opens_only_as_it_was_sealed(
            plain in vec(any::<u8>(), 0..100),
            (place, other) in any::<(String, String)>(),
            (at, byte) in any::<(Index, u8)>(),
        ) {
            let master = MasterKey::parse(&MasterKey::generate()).unwrap();
            let mut sealed = master.seal(&place, &plain);

            prop_assert_eq!(master.open(&place, &sealed), Ok(plain));
            prop_assert_eq!(master.open(&other, &sealed).is_ok(), other == place);
            let at = at.index(sealed.len());
            prop_assume!(sealed[at] != byte);
            sealed[at] = byte;
            prop_assert!(master.open(&place, &sealed).is_err());
        }
    }

    /// Wherever a length stands, the largest one: what would be set aside for it is more than any machine has.
    #[test]
    fn a_length_that_lies_is_not_believed() {
        let huge_array = [0xdd, 0xff, 0xff, 0xff, 0xff];
        let huge_bin = [0xc6, 0xff, 0xff, 0xff, 0xff];
        let huge_text = [0xdb, 0xff, 0xff, 0xff, 0xff];
        let (head, entry) = ([0x92, 1], [0x91, 0x95, 0xa2, b'w', b'a', 0]);

        let bombs = [
            huge_array.to_vec(),
            [&head[..], &huge_array].concat(),
            [&head[..], &[0x91], &huge_array].concat(),
            [&head[..], &[0x91, 0x95], &huge_text].concat(),
            [&head[..], &entry, &huge_array].concat(),
            [&head[..], &entry, &[0x91, 0x92], &huge_text].concat(),
            [&head[..], &entry, &[0x90], &huge_bin].concat(),
            [0x91; 100_000].to_vec(),
        ];

        for bomb in bombs {
            assert!(matches!(Job::decode(&bomb.into()), Err(Undecodable::Shape(_))));
        }
    }
}
