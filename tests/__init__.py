"""The tests, in folders that say what they prove.

`app` has the app between the stand-ins for Slack and Conveyor, and some of its parts alone; `stand_ins` the
stand-ins; `page` the sandbox's page in a browser; `proofs` what must be true in every case; `support` what
the tests share. These words have a meaning of their own here:

World       The two stand-ins, and the real app in a process of its own between them.
world       A fixture: a World of its own for one test, whose app the test starts itself.
town        A fixture: a running World that the tests of a module share.
Scene       One part of the app inside the test's own process, with a clock that the test moves.
launcher    Starts the app quickly, by a fork, with shorter waits, and kills or stops it where a test says so.
waits       Constants of the app that a test replaces, such as timeouts, by their dotted names.
step        What many tests do with a World: `posted`, `clickable`, `approved` … in `support/steps.py`.
fault       What a stand-in does wrong when a test says so: an error, a delay, a lost answer.
to land     A write lands when it takes effect in Conveyor, whether or not the app gets an answer.
picture     What a card shows at one time: its text and its blocks.
Kill        The commit or outgoing call before or after which the launcher kills the app.
MortalWorld A World whose app is killed and started again, and which keeps a list of what people did.
Deed        One thing that a person did in a MortalWorld, and how the app answered.
at rest     Nothing is left for the app to do: no card to draw, no decision to carry out, no note to send.
invariant   What must be true of a MortalWorld at rest, and of every call on the way there.
promise     What people were told that the app will do: tell them the outcome, remind of a card three times.
kill        `make kill`: each scenario is run once for each moment at which the app can die.
chaos       `make chaos`: random schedules of clicks, faults and deaths; a seed is a schedule.
Replicas    Several processes of the app on one ledger.
"""
