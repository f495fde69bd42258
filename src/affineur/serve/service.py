"""From texts to entities for many at once: admission, reading, queue, answer, models that change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from affineur.errors import AffineurError, ParameterError
from affineur.runtime import PredictOptions, Reading
from affineur.runtime.memory import give_back
from affineur.serve.holding import Holdings
from affineur.serve.listeners import Answered, AnswerListener, Listeners, RequestFacts, Scores
from affineur.serve.metrics import Metrics
from affineur.serve.problems import Problem, overloaded
from affineur.serve.queue.admission import Permit, Refused
from affineur.serve.queue.batcher import Expired, Job
from affineur.serve.queue.portions import Found, Portions, SideThreads
from affineur.serve.queue.served import Loader, ServedModel, start_model
from affineur.serve.queue.speed import HALF_SECONDS
from affineur.serve.settings import Settings

T = TypeVar("T")

#: Whole bodies whose bytes may be in memory before they are requests.
_UNREAD = 16
#: Characters from which texts are worked on by other threads.
_LONG = 4000
#: Characters of a token, as far as one can tell before a text is read.
_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found in the texts of one request.

    Args:
        found: For each text, in order, what was made of it.
        queue_seconds: Time before the computation began.
        inference_seconds: Time from there to its end, the batches of others between included.
        tokens: Tokens computed.
        model: The model that answered.
    """

    found: list[Any]
    queue_seconds: float
    inference_seconds: float
    tokens: int
    model: ServedModel


class Gone(Exception):
    """The client does not wait any more."""


class Service:
    """The models of an endpoint and everybody who waits for them.

    Args:
        references: What the user typed for each model, by the name it is served under; the first is the
            default.
        loader: Loads and proves a model.
        settings: Limits.
        metrics: Is told everything.
        listeners: Hear of every answer, beside those who count scores for the metrics.

    Raises:
        ParameterError: If there is no model.
    """

    def __init__(
        self,
        references: Mapping[str, str],
        loader: Loader,
        settings: Settings,
        metrics: Metrics,
        listeners: Sequence[AnswerListener] = (),
    ) -> None:
        if not references:
            raise ParameterError("there is no model to serve")
        self.references = dict(references)
        self.settings, self.metrics = settings, metrics
        self.models: dict[str, ServedModel] = {}
        self.draining = False
        self.bodies = Holdings(_UNREAD * settings.max_body_bytes)  # those that are not requests yet
        self._loader = loader
        self._listeners = Listeners([Scores(metrics), *listeners], metrics.unheard.inc)
        self._lock = threading.Lock()
        self.reloading = asyncio.Lock()
        self.beside = SideThreads()

    @property
    def ready(self) -> bool:
        """Whether every model is loaded, and nobody asked to stop."""
        return len(self.models) == len(self.references) and not self.draining

    @property
    def names(self) -> list[str]:
        """Names of the models, the default first."""
        return list(self.references)

    def load(self) -> None:
        """Load, prove and warm every model; blocks until all are.

        Raises:
            AffineurError: If one cannot be served.
        """
        for name, reference in self.references.items():
            self.commit(self.prepare(name, reference))

    def prepare(self, name: str, reference: str) -> ServedModel:
        """Load, prove and warm an artifact beside the one that serves; blocks.

        Raises:
            AffineurError: If it cannot be served; nothing has changed then.
        """
        with self._lock:  # two at once would take the memory of both
            old = self.models.get(name)
            version = 1 if old is None else old.about.version + 1
            try:
                return start_model(
                    name, reference, self._loader, self.settings, self.metrics.of(name), version
                )
            except Exception:
                if old is not None:
                    self.metrics.reloads.labels(name, "refused").inc()
                raise

    def commit(self, new: ServedModel) -> None:
        """Let an artifact serve from now on; the one before it answers whom it has accepted, and is put away.

        Where there is one before it, this is called by the event loop's thread, so that nobody is between
        choosing a model and entering it.
        """
        name = new.about.name
        old = self.models.get(name)
        if old is not None:  # a third may have come while this one was prepared
            new.about = replace(new.about, version=old.about.version + 1)
        self.models[name], self.references[name] = new, new.reference
        self.metrics.model_info.labels(name, new.about.sha256).set(1)
        if old is not None:
            if old.about.sha256 != new.about.sha256:
                self.metrics.model_info.labels(name, old.about.sha256).set(0)
            self.metrics.reloads.labels(name, "done").inc()
            threading.Thread(target=_put_away, args=([old],), name="affineur-put-away", daemon=True).start()

    def model(self, name: str | None) -> ServedModel:
        """Return a model by its name, or the default one.

        Raises:
            Problem: 404 if there is none of that name, 503 while it is being loaded.
        """
        wanted = name or self.names[0]
        if wanted not in self.references:
            raise Problem("not_found", f"no such model, expected {' or '.join(self.names)}")
        if wanted not in self.models:
            raise Problem("unhealthy", "the model is being loaded", {"Retry-After": "1"})
        return self.models[wanted]

    def overload(self, name: str | None = None) -> Problem | None:
        """Return the refusal that a request would get now, unread; ``None`` where it may be taken."""
        model = self.models.get(name or self.names[0])
        if model is None or model.admission.refusing is None:
            return None
        return self._refusal(model, model.admission.refusing)

    async def answer(
        self,
        name: str | None,
        texts: Sequence[str],
        options: PredictOptions,
        gone: Callable[[], Coroutine[Any, Any, None]] | None = None,
        facts: RequestFacts | None = None,
        shape: Callable[[str, Found], Any] = lambda _, found: found,
    ) -> Answer:
        """Find the entities of texts.

        Args:
            name: The model; ``None`` for the default one.
            texts: Raw texts, within the limits.
            options: How the entities are predicted.
            gone: Returns what ends when nobody waits for the answer any more; what has not begun then is
                never computed.
            facts: What else is known of the request; the rest is filled in, for the log and for listeners.
            shape: Makes what is answered of a text and what was found in it.

        Raises:
            Problem: 404 no such model, 413 more than can be done in time, 422 options that do not fit the
                model, 424 the engine failed, 429 too many wait or the time is over, 503 not yet loaded.
            Gone: If nobody waits any more.
        """
        model = self.model(name)
        arrived = time.perf_counter()
        size = sum(map(len, texts))
        try:
            permit = model.admission.enter(len(texts), size // _CHARACTERS)
        except Refused as refused:
            raise self._refusal(model, refused.reason) from None
        watch = None if gone is None else asyncio.ensure_future(gone())
        long = size > _LONG
        job: Job | None = None

        async def turn(work: Callable[[], T]) -> T:
            if watch is not None and watch.done():
                raise Gone
            return await self.beside.do(work) if long else work()

        try:
            portions = Portions(texts, turn)
            await self._read(model, portions, permit, options, arrived)
            self._tell(model)
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            job = Job(portions.windows, arrived + self.settings.timeout, _resolver(done))
            try:
                model.batcher.submit(job)
            except AffineurError as error:  # the endpoint has ended
                raise Problem("unhealthy", str(error)) from None
            waited_for = {done} if watch is None else {done, watch}
            # The batcher drops what is late; should its engine hang, the client is told all the same.
            await asyncio.wait(
                waited_for, timeout=2 * self.settings.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done.done():
                raise (
                    Gone
                    if watch is not None and watch.done()
                    else Problem("backend", "the engine does not answer")
                )
            if job.error is not None:
                raise self._failure(model, job.error)
            rows = [row for row in job.rows if row is not None]
            found, shaped = await portions.results(rows, shape)
            started, finished = job.started or arrived, job.finished or arrived
            queued, computed = started - arrived, finished - started
            if facts is not None:
                facts.texts, facts.tokens = len(texts), portions.tokens
                facts.queue_ms = round(1000 * queued, 1)
            taken = time.perf_counter() - arrived
            self._listeners.tell(
                Answered(
                    texts,
                    found,
                    options,
                    model.about,
                    taken,
                    queued,
                    computed,
                    portions.tokens,
                    facts,
                    partial(portions.evidence, rows, found),
                )
            )
            return Answer(shaped, queued, computed, portions.tokens, model)
        finally:
            if watch is not None:
                watch.cancel()
            if job is not None:
                model.batcher.cancel(job)
            model.admission.leave(permit)
            self._tell(model)

    def close(self) -> None:
        """Put every model away."""
        for model in list(self.models.values()):  # one may still be loaded
            model.batcher.close(timeout=5)
        self.beside.close()
        self._listeners.close(timeout=5)

    async def _read(
        self,
        model: ServedModel,
        portions: Portions,
        permit: Permit,
        options: PredictOptions,
        arrived: float,
    ) -> None:
        """Cut texts into windows, and let a permit count for them; what is too much is not read to its end.

        Raises:
            Problem: If they are too many for one request, or for now.
            Gone: If nobody waits any more.
        """
        most = self._most_tokens(model.batcher.speed.relax())

        def read(texts: Sequence[str]) -> Reading:
            now = time.perf_counter()  # what waited for its turn so long would be read in vain
            if now > arrived + self.settings.timeout:
                raise Expired("the request waited longer than it may")
            if model.admission.refusing is not None and now > arrived + 1:
                raise Refused(model.admission.refusing)
            return model.tagger.read(texts, options)

        def counted(tokens: int, left: int) -> None:
            if tokens > most:
                raise self._too_long(model, tokens + left // _CHARACTERS)
            model.admission.charge(permit, tokens + left // _CHARACTERS)

        try:
            await portions.read(read, counted)
        except Refused as refused:
            raise self._refusal(model, refused.reason) from None
        except Expired as error:
            raise self._failure(model, error) from None
        except ParameterError as error:
            raise Problem("validation", str(error)) from None

    def _most_tokens(self, speed: float) -> int:
        """Return the most tokens of a request, where one takes so many seconds."""
        most = self.settings.max_tokens
        return int(self.settings.work_seconds / speed) if speed * most > self.settings.work_seconds else most

    def _too_long(self, model: ServedModel, tokens: int) -> Problem:
        """Return the refusal of a request that would take too long: for good, or as slow as it is now."""
        most = self._most_tokens(model.batcher.speed.best)
        if tokens <= most:
            self.metrics.shed.labels("deadline").inc()
            return overloaded("so long a text would take too long as slow as it is now", HALF_SECONDS)
        limit = self.settings.max_tokens
        why = "the limit of a request" if most == limit else "more than can be computed in time"
        return Problem(
            "too_large", f"the texts have more than {most} tokens, {why}; send at most {most} in a request"
        )

    def _refusal(self, model: ServedModel, reason: str) -> Problem:
        self.metrics.shed.labels(reason).inc()
        return overloaded(f"too many {reason} wait", model.admission.tokens * model.batcher.speed.now / 2)

    def _failure(self, model: ServedModel, error: AffineurError) -> Problem:
        if isinstance(error, Expired):
            self.metrics.shed.labels("deadline").inc()
            return overloaded("the request waited too long", model.admission.tokens * model.batcher.speed.now)
        return Problem("backend", str(error))

    def _tell(self, model: ServedModel) -> None:
        if self.models.get(model.about.name) is model:  # one that is being put away must not speak for it
            self.metrics.of(model.about.name).held(model.admission.inputs, model.admission.tokens)


def _put_away(last: list[ServedModel]) -> None:
    """End a model that nobody holds but this list, and give back its memory."""
    model = last.pop()
    while model.admission.inputs:
        time.sleep(0.05)
    model.batcher.close()
    del model
    give_back()


def _resolver(done: asyncio.Future[None]) -> Any:
    """Return what ends a future of this loop from another thread."""
    loop = asyncio.get_running_loop()

    def resolve(_: Job) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(lambda: None if done.done() else done.set_result(None))

    return resolve
