"""The question that reviewers answer, and their queues."""

from collections.abc import Sequence

from mlflow.exceptions import MlflowException
from mlflow.genai import label_schemas, review_queues
from mlflow.genai.label_schemas import InputCategorical
from mlflow.genai.review_queues import ReviewQueue

from wikillama.errors import InputError

VERDICTS = ("correct", "wrong", "ambiguous")
SCHEMA = "verdict"
ADJUDICATION = "Adjudication"
LISTED = 1000  # items of a queue that MLflow's page lists
_PAGE = 1000

# MLflow shows at most 1000 characters, without line breaks.
GUIDELINE = (
    "Judge the reply by the reference and the knowledge beside it, not by style or length. "
    "CORRECT: it answers the question, and all that the answer rests on agrees with the reference. Other words, other "
    "units and more true detail are fine. A slip in a side remark stays correct: comment 'peripheral'. Saying that a "
    "question has no answer is correct where it has none. "
    "WRONG: the key fact disagrees, is made up or is taken back; or there is no answer: a refusal, the question again, "
    "another subject, empty or broken text. "
    "AMBIGUOUS: two minutes with the reference do not settle it; the question has another fair reading that the reply "
    "fits; a list is partly right and nothing in it false; the fact has changed since. "
    "Comment whenever you hesitate, and name the fault: hallucination, outdated, partial, off-topic, refusal, "
    "degenerate, peripheral. Do not talk about items before all have judged them."
)


def queue_name(annotator: str) -> str:
    """Not the bare name: MLflow wants that for a user's personal queue."""
    return f"Answers for {annotator}"


def verdict_schema(experiment_id: str) -> str:
    """Id of the review's one question, made where it is missing.

    Raises InputError where the experiment asks another question by that name.
    """
    try:
        schema = label_schemas.get_label_schema(SCHEMA, experiment_id=experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        schema = label_schemas.create_label_schema(
            SCHEMA,
            type="feedback",
            input=InputCategorical(options=list(VERDICTS)),
            instruction=GUIDELINE,
            enable_comment=True,
            experiment_id=experiment_id,
        )
    options = getattr(schema.input, "options", None)
    if options != list(VERDICTS):
        raise InputError(f"label schema {SCHEMA} of experiment {experiment_id} offers {options}; delete it in MLflow")
    return str(schema.schema_id)


def review_queue(experiment_id: str, name: str, user: str, schema_id: str) -> ReviewQueue:
    """The queue with a name, made where it is missing, with `user` among those who may work on it."""
    queue: ReviewQueue
    try:
        queue = review_queues.get_review_queue(name=name, experiment_id=experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        queue = review_queues.create_review_queue(
            name, queue_type="custom", users=[user], schema_ids=[schema_id], experiment_id=experiment_id
        )
    if user not in queue.users:
        queue = review_queues.update_review_queue(queue.queue_id, users=[*queue.users, user])
    return queue


def attached(queue: ReviewQueue) -> set[str]:
    """Ids of the traces in a queue."""
    found: set[str] = set()
    token: str | None = None
    while True:
        page = review_queues.list_review_queue_items(queue.queue_id, max_results=_PAGE, page_token=token)
        found |= {item.item_id for item in page}
        token = page.token
        if not token:
            return found


def attach(queue: ReviewQueue, trace_ids: Sequence[str]) -> None:
    review_queues.add_items_to_review_queue(queue.queue_id, item_ids=list(trace_ids))
