"""The JSON schemas of what the server reads and answers."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def schemas(max_rows: int) -> dict[str, Schema]:
    """By name; ``max_rows`` is the limit of a request's events or candidates."""
    return {
        **_READ,
        **_ANSWERED,
        **_OPEN_INFERENCE,
        "EventsRequest": _events_request(max_rows),
        "CandidatesRequest": _candidates_request(max_rows),
    }


def ref(name: str) -> Schema:
    """A reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def _record(required: str, /, **properties: Schema) -> Schema:
    """An object that may have more than these properties; ``required`` names those it must."""
    return {"type": "object", "required": required.split(), "properties": properties}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _whole(description: str, **more: Any) -> Schema:
    return {"type": "integer", "description": description, **more}


def _number(description: str, **more: Any) -> Schema:
    return {"type": "number", "description": description, **more}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _many(items: Schema, description: str, **more: Any) -> Schema:
    return {"type": "array", "items": items, "description": description, **more}


_LONGEST = 10**18 - 1
"""Of a whole number that is read as one: 18 digits."""

_OPTIONS = {
    "top_k": _whole("Answer only the k most probable, best first.", minimum=1, maximum=_LONGEST),
    "explain": _flag("Say what each feature adds."),
}
_MEMBERS = {"maxProperties": 16}


def _events_request(max_rows: int) -> Schema:
    return {
        **_record(
            "events",
            events=_many(ref("Event"), "One prediction for each.", maxItems=max_rows),
            **_OPTIONS,
        ),
        "not": {"anyOf": [{"required": ["context"]}, {"required": ["candidates"]}]},
        **_MEMBERS,
    }


def _candidates_request(max_rows: int) -> Schema:
    return {
        **_record(
            "context candidates",
            context={**ref("Features"), "description": "Features that all candidates share."},
            candidates=_many(
                ref("Features"), "One prediction for each, with the context.", maxItems=max_rows
            ),
            ts=_whole("Time of all candidates.", minimum=1 - 10**17, maximum=_LONGEST),
            **_OPTIONS,
        ),
        "not": {"required": ["events"]},
        **_MEMBERS,
    }


_READ: dict[str, Schema] = {
    "PredictRequest": {"oneOf": [ref("EventsRequest"), ref("CandidatesRequest")]},
    "Time": {
        "type": ["integer", "null"],
        "description": "Milliseconds since the epoch; time features are derived from it.",
        "minimum": -_LONGEST,
        "maximum": _LONGEST,
    },
    "Event": {
        **_record("", ts=ref("Time"), features={"anyOf": [ref("Features"), {"type": "null"}]}),
        "description": (
            "An event of the training stream; its label, weight and id are not read. The keys are "
            "those that a model reads by default: GET /v1/models/{name} says which it does."
        ),
    },
    "Features": {
        "type": "object",
        "description": "Values by the features' names.",
        "additionalProperties": ref("Feature"),
    },
    "Feature": {
        "description": (
            "A string, a bool and an integer are categories, any other number falls into a "
            "bucket, an array is several categories of one name, null is no feature."
        ),
        "anyOf": [
            {"type": "string"},
            {"type": "boolean"},
            {"type": "integer"},
            {"type": "number", "minimum": -1e6, "maximum": 1e6},
            {"type": "array", "items": {"type": "string"}},
            {"type": "null"},
        ],
    },
}

_VERSION = _whole("Grows with every version published.", minimum=0)
_PROBABILITY = _number("Probability of a click.", minimum=0, maximum=1)
_EVENT_TIME = _whole("Time of the newest event learned, milliseconds since the epoch.")

_ANSWERED: dict[str, Schema] = {
    "Prediction": {
        **_record(
            "model",
            model=_record(
                "name version event_time",
                name=_text("The model that answered."),
                version=_VERSION,
                event_time=_EVENT_TIME,
            ),
            probabilities=_many(_PROBABILITY, "Of each event or candidate, in their order."),
            explanations=_many(ref("Explanation"), "Of each; where `explain` asks for them."),
            top=_many(ref("Best"), "The best, in their order; where `top_k` asks for them."),
        ),
        "oneOf": [{"required": ["probabilities"]}, {"required": ["top"]}],
    },
    "Best": _record(
        "index probability",
        index=_whole("Which event or candidate, from 0.", minimum=0),
        probability=_PROBABILITY,
        explanation=ref("Explanation"),
    ),
    "Explanation": _record(
        "logit bias features",
        logit=_number("The sum of all the rest."),
        bias=_number("What the constant adds."),
        features={
            "type": "object",
            "description": "What each feature adds, by its name; a cross is named user*ad.",
            "additionalProperties": {"type": "number"},
        },
        unnamed=_number("What features add whose names were too many to keep."),
    ),
    "Summary": _record(
        "name ready",
        name=_text("Name of the model."),
        ready=_flag("Whether a version is loaded; the rest is there when it is."),
        version=_VERSION,
        event_time=_EVENT_TIME,
        held=_flag("Whether an operator's hold chose the version."),
        gate=ref("Gate"),
    ),
    "Gate": {
        **_record(
            "open enabled overridden reason violated",
            open=_flag("Whether models were let out."),
            enabled=_flag("Whether it judges at all."),
            overridden=_flag("Whether an operator's order opened it."),
            reason=_text("Why it is as it is."),
            violated=_many({"type": "string"}, "Bounds that figures are outside of."),
        ),
        "description": "The trainer's gate when it let the version out.",
    },
    "Models": _record(
        "default models",
        default=_text("The model of /v1/predict."),
        models=_many(ref("Summary"), "Every model that is served."),
    ),
    "Model": {
        "allOf": [
            ref("Summary"),
            _record(
                "following",
                following=_record(
                    "failures last_failure",
                    failures=_whole("Failed attempts to read updates.", minimum=0),
                    last_failure=_text("Why the last one failed."),
                ),
                age_seconds=_number("Since the newest event learned."),
                events_learned=_whole("By this version.", minimum=0),
                nonzero_weights=_whole("In memory.", minimum=0),
                size_bytes=_whole("Memory of the weights.", minimum=0),
                encoding=_text("Of the weights."),
                metrics={
                    "type": "object",
                    "description": "Progressive metrics at the time of publishing.",
                    "additionalProperties": {"type": ["number", "null"]},
                },
                learner={"type": "object", "description": "Settings of the learner."},
                features={"type": "object", "description": "How events are read."},
                shadow={**ref("Model"), "description": "The model that scores the same."},
            ),
        ]
    },
    "Status": _record(
        "version uptime_seconds models",
        version=_text("Of the server."),
        uptime_seconds=_number("Since its start.", minimum=0),
        models=_many(ref("Model"), "Every model that is served."),
    ),
    "Error": _record(
        "error",
        error=_record(
            "path got wanted",
            path=_text("Where in the request."),
            got=_text("What was there."),
            wanted=_text("What should have been there."),
        ),
    ),
}

_NAME = _text("Name of the model.")
_TENSORS = _many(
    _record(
        "name datatype shape",
        name=_text("Name of the tensor."),
        datatype=_text("Type of its elements."),
        shape=_many(_whole("-1: any."), "Its dimensions."),
    ),
    "What a tensor has to be, or will be.",
)

_OPEN_INFERENCE: dict[str, Schema] = {
    "InferenceError": _record("error", error=_text("What is wrong, in a sentence.")),
    "Live": _record("live", live=_flag("Always.")),
    "Ready": _record(
        "live ready", live=_flag("Always."), ready=_flag("Whether every model is loaded.")
    ),
    "InferenceServer": _record(
        "name version extensions",
        name=_text("Name of the server."),
        version=_text("Version of the server."),
        extensions=_many({"type": "string"}, "Of the protocol."),
    ),
    "InferenceModel": _record(
        "name versions platform inputs outputs",
        name=_NAME,
        versions=_many({"type": "string"}, "The version that is served."),
        platform=_text("What computes."),
        inputs=_TENSORS,
        outputs=_TENSORS,
    ),
    "ModelReady": _record("name ready", name=_NAME, ready=_flag("Whether a version is loaded.")),
    "ModelConfiguration": _record(
        "name platform input output",
        name=_NAME,
        platform=_text("What computes."),
        input=_many({"type": "object"}, "As in the metadata."),
        output=_many({"type": "object"}, "As in the metadata."),
    ),
    "RepositoryIndex": _many(
        _record(
            "name state reason",
            name=_NAME,
            version=_text("The version that is served."),
            state=_text("Whether it is.", enum=["READY", "UNAVAILABLE"]),
            reason=_text("Why it is not."),
        ),
        "Every model that is served.",
    ),
}
