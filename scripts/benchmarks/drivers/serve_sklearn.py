"""The service that is made at home: scikit-learn's SGDClassifier behind FastAPI:
serve_sklearn.py PORT EVENTS BITS. It learns the events first.
"""

import json
import sys
from itertools import islice

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

port, file, bits = sys.argv[1:]
hasher = FeatureHasher(1 << int(bits), input_type="dict", alternate_sign=False)
model = SGDClassifier(loss="log_loss", penalty="l1", alpha=1e-6)
with open(file, "rb") as lines:
    while block := [json.loads(line) for line in islice(lines, 5000)]:
        x = hasher.transform(event["features"] for event in block)
        model.partial_fit(x, [event["label"] for event in block], classes=[0, 1])

app = FastAPI()


class Event(BaseModel):
    features: dict[str, str]


class Asked(BaseModel):
    events: list[Event] = []
    context: dict[str, str] = {}
    candidates: list[dict[str, str]] = []


@app.post("/v1/predict")
async def predict(asked: Asked) -> dict[str, list[float]]:
    rows = [event.features for event in asked.events]
    rows += [{**asked.context, **candidate} for candidate in asked.candidates]
    return {"probabilities": model.predict_proba(hasher.transform(rows))[:, 1].tolist()}


uvicorn.run(
    app,
    port=int(port),
    loop="uvloop",
    http="httptools",
    access_log=False,
    log_level="warning",
)
