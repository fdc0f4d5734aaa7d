//! Two futures, of which the first one to be ready counts.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Which of the two it was.
#[derive(Debug)]
pub(crate) enum Either<L, R> {
    Left(L),
    Right(R),
}

/// Waits for one of both; if both are ready it is the left one. The other one is dropped.
pub(crate) async fn either<L, R>(
    left: impl Future<Output = L>,
    right: impl Future<Output = R>,
) -> Either<L, R> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| {
        if let Poll::Ready(left) = left.as_mut().poll(context) {
            return Poll::Ready(Either::Left(left));
        }
        right.as_mut().poll(context).map(Either::Right)
    })
    .await
}
