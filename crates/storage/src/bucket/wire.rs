//! The HTTP client below `object_store`. It sees every answer, so it can tell the store's time.

use super::clock::StoreClock;
use http::header::DATE;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use std::sync::Arc;

/// Makes clients that note the `Date` of every answer.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) clock: Arc<StoreClock>,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Noted {
            inner,
            clock: self.clock.clone(),
        }))
    }
}

#[derive(Debug)]
struct Noted {
    inner: HttpClient,
    clock: Arc<StoreClock>,
}

#[async_trait::async_trait]
impl HttpService for Noted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.inner.execute(request).await?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date {
            self.clock.saw(date);
        }
        Ok(answer)
    }
}
