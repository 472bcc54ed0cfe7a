//! Steps that write the App of a release.

use kube::{Api, api::PostParams};

use super::{MAX_CONFLICT_TRIES, StepRunner};
use crate::api::{App, EnvironmentStatus};

impl StepRunner<'_> {
    fn apps_api(&self) -> Api<App> {
        Api::namespaced(self.options.client.clone(), &self.options.namespace)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(app = self.release.spec.app, environment))]
    pub(super) async fn write_environment_status(
        &self,
        environment: &str,
        status: &EnvironmentStatus,
    ) -> kube::Result<()> {
        for left in (0..MAX_CONFLICT_TRIES).rev() {
            let mut app = self.apps_api().get(&self.release.spec.app).await?;
            if app
                .status
                .as_ref()
                .and_then(|s| s.environments.get(environment))
                == Some(status)
            {
                self.cache.apps.record_write(&app);
                return Ok(());
            }
            app.set_environment_status(environment, status.clone());
            match self
                .apps_api()
                .replace_status(&self.release.spec.app, &PostParams::default(), &app)
                .await
            {
                Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
                done => return done.map(|written| self.cache.apps.record_write(&written)),
            }
        }
        Ok(())
    }

    #[tracing::instrument(level = "debug", skip_all, fields(app = self.release.spec.app, environment))]
    pub(super) async fn remove_environment(&self, environment: &str) -> kube::Result<()> {
        for left in (0..MAX_CONFLICT_TRIES).rev() {
            let mut app = self.apps_api().get(&self.release.spec.app).await?;
            if app.spec.environment(environment).is_none() {
                return Ok(());
            }
            app.spec.environments.retain(|e| e.name != environment);
            match self
                .apps_api()
                .replace(&self.release.spec.app, &PostParams::default(), &app)
                .await
            {
                Err(kube::Error::Api(s)) if s.code == 409 && left > 0 => {}
                done => return done.map(drop),
            }
        }
        Ok(())
    }
}
