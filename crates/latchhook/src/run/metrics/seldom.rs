//! What is asked for seldom, and told to everybody who asks in between.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

/// How often it is asked for at most, by one process.
pub(super) const PAUSE: Duration = Duration::from_secs(30);

/// The last answer, and when it was asked for. Who comes while somebody asks waits for that.
pub(super) struct Seldom<T>(Mutex<Option<(Instant, Option<T>)>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Copy> Seldom<T> {
    /// What `asking` says, or what it said within [`PAUSE`] before `now`. That there was no answer is one too: who has
    /// trouble is not asked all the more often.
    pub(super) async fn told(&self, now: Instant, asking: impl Future<Output = Option<T>>) -> Option<T> {
        let mut last = self.0.lock().await;
        if let Some((asked, answer)) = *last
            && now < asked + PAUSE
        {
            return answer;
        }
        // Whoever goes away before the answer has asked, too.
        *last = Some((now, None));
        let answer = asking.await;
        *last = Some((now, answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_within_half_a_minute_is_told_what_was_told_before() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        let just_before = now + PAUSE - Duration::from_millis(1);

        let mut told = Vec::new();
        for (at, answer) in [(now, 1), (just_before, 2), (now + PAUSE, 3), (now + PAUSE, 4)] {
            told.push(seldom.told(at, ready(Some(answer))).await);
        }

        assert_eq!(told, [Some(1), Some(1), Some(3), Some(3)]);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_has_waited_for_was_asked_for_all_the_same() {
        let (seldom, now) = (Seldom::default(), Instant::now());

        let left = seldom.told(now, std::future::pending()).now_or_never();
        let told = [now, now + PAUSE].map(|at| seldom.told(at, ready(Some(1))).now_or_never());

        assert_eq!((left, told), (None, [Some(None), Some(Some(1))]));
    }

    #[tokio::test]
    async fn who_does_not_answer_is_left_alone_as_long_as_who_does() {
        let (seldom, now) = (Seldom::default(), Instant::now());

        let told = [
            seldom.told(now, ready(None)).await,
            seldom.told(now, ready(Some(1))).await,
            seldom.told(now + PAUSE, ready(Some(2))).await,
        ];

        assert_eq!(told, [None, None, Some(2)]);
    }
}
