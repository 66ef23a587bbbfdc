"""The errors that end a click, a modal or a command early, and what the person sees after each.

    Exception
    ├── Refusal        nothing was done; the person reads the sentence of the refusal
    ├── InvalidField   a field of a modal is wrong; Slack shows the sentence beside that field
    ├── MayNot         (workspace/reviewers.py) the person can't decide; decisions.py makes it a Refusal
    ├── LedgerError    (ledger/database.py) nothing could be saved; the person is asked to click again
    └── anything else  a bug; the person gets a reference, under which the log has the traceback

The listeners raise these errors, and answers.py turns each of them into an answer.
"""


class Refusal(Exception):
    """Nothing was done, and the person is told why in a sentence that nobody else sees.

    `why` is for the log and the audit trail. `redraw` is the id of a request whose card has to be drawn
    again, because the person saw something on it that is no longer true.
    """

    def __init__(self, sentence: str, why: str, redraw: str = "") -> None:
        super().__init__(why)
        self.sentence = sentence
        self.why = why
        self.redraw = redraw


class InvalidField(Exception):
    """A field of a modal has to be corrected. The modal stays open and shows the sentence beside it."""

    def __init__(self, block_id: str, sentence: str) -> None:
        super().__init__(block_id)
        self.errors = {block_id: sentence}
