//! The faces of a running agent: control socket and metrics endpoint.

use super::{ControlSocket, TelemetryListener, serve_control, serve_telemetry};
use crate::app::handle::Handle;
use crate::app::{Faces, OpenFaces, Places, Serving};

/// Control socket and metrics endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Api;

#[derive(Debug)]
struct Open {
    control: ControlSocket,
    telemetry: Option<TelemetryListener>,
}

impl Faces for Api {
    fn open(&self, places: &Places<'_>) -> anyhow::Result<Box<dyn OpenFaces>> {
        let control = ControlSocket::bind(places.state_dir.join("control.sock"), places.socket_group)?;
        let telemetry =
            places.metrics.map(|address| TelemetryListener::bind(address, places.state_dir)).transpose()?;
        Ok(Box::new(Open { control, telemetry }))
    }
}

impl OpenFaces for Open {
    fn serve(self: Box<Self>, handle: &Handle) -> Serving {
        let mut tasks = tokio::task::JoinSet::new();
        let (control, control_handle) = (self.control, handle.clone());
        tasks.spawn(async move {
            if let Err(error) = serve_control(control, control_handle).await {
                tracing::error!(%error, "the control socket is no longer served");
            }
        });
        if let Some(telemetry) = self.telemetry {
            let handle = handle.clone();
            tasks.spawn(async move {
                if let Err(error) = serve_telemetry(telemetry, handle).await {
                    tracing::error!(%error, "metrics are no longer served");
                }
            });
        }
        Serving(tasks)
    }
}
