"""Settings: the prediction server."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from ctr.settings.about import about


class Serve(Struct, frozen=True, forbid_unknown_fields=True):
    """The prediction server."""

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, about("Bytes of one request.", ge=1024)] = 8_388_608
    max_rows: Annotated[int, about("Events or candidates of one request.", ge=1)] = 10_000
    workers: Annotated[
        int, about("Processes that share one model in memory and one port.", ge=1, le=256)
    ] = 1
    request_seconds: Annotated[
        float,
        about("Time in which a request must have arrived and its answer been taken.", gt=0),
    ] = 10.0
    max_requests: Annotated[
        int,
        about(
            "Requests of one worker that are partly sent, or wait for answers before theirs; more "
            "are answered with 503.",
            ge=1,
        ),
    ] = 1000
    max_connections: Annotated[
        int, about("Connections of one worker; more are answered with 503 and closed.", ge=1)
    ] = 10_000
    keys_file: Annotated[
        str, about("File of API keys, a name and a key a line; read again when it changes.")
    ] = ""
    tls_certificate: Annotated[str, about("PEM file of the certificate; serves HTTPS.")] = ""
    tls_key: Annotated[str, about("PEM file of the certificate's private key.")] = ""
    tls_client_ca: Annotated[
        str, about("PEM file of who signs clients' certificates; clients then need one.")
    ] = ""
    admin_host: Annotated[str, about("Address of the admin port.")] = "127.0.0.1"
    admin_port: Annotated[
        int,
        about(
            "Port of /metrics, the dashboard and status alone; 0 takes a free one, -1 has them "
            "beside the predictions.",
            ge=-1,
            le=65535,
        ),
    ] = -1
    shadow: Annotated[
        str,
        about(
            "A second model that scores the same requests: a snapshot file, a directory of "
            "snapshots, or kafka:TOPIC, a model topic; {model} is the served model's name."
        ),
    ] = ""


class PredictionLog(Struct, frozen=True, forbid_unknown_fields=True):
    """Answered predictions as events without a label, in a Kafka topic."""

    sample: Annotated[float, about("Share of requests that are logged; 0: none.", ge=0, le=1)] = 0.0
    topic: Annotated[str, about("Topic of the log; {model} is the model's name.")] = (
        "ctr.{model}.served"
    )
    max_buffered: Annotated[
        int, about("Requests waiting to be logged; more are dropped and counted.", ge=1)
    ] = 10_000
