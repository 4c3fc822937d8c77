"""Every sentence that people read from Slack, in one place: short, plain, friendly; numbers with their units.

Names in braces are filled in by whoever shows the sentence, already escaped. Sentences about what can't be done come
from the error that says so.
"""

import math
from datetime import timedelta

from bot.health import Part
from bot.preferences import Own
from tools.gates import NoData
from tools.metrics.catalogue import MetricKind
from tools.metrics.units import in_unit
from tools.rollouts.confirmations import Action, Status
from tools.rollouts.events import Happening
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import Phase

# -- numbers ------------------------------------------------------------------------------------------------------


def percentage(share: float) -> str:
    """A percentage that is given in percent: `5 %`, `0.05 %`."""
    if not math.isfinite(share):
        return "? %"
    return f"{float(f'{share:.3g}'):g} %" if share >= 0.001 or share == 0 else "below 0.001 %"


def rate(share: float | None) -> str:
    """A rate that is given as a fraction, in percent; a question mark when it is not known."""
    return "?" if share is None else percentage(share * 100)


def measured(value: float | None, numbers: Numbers) -> str:
    """What a metric was: a rate in percent, a mean or a latency in its unit; a question mark when it is not known."""
    if value is None or numbers.kind not in (MetricKind.MEAN, MetricKind.LATENCY):
        return rate(value)
    return in_unit(value, numbers.unit)


def count(number: int) -> str:
    """A whole number with thousands separated: `1,234`."""
    return f"{number:,}"


def evidence(e_value: float) -> str:
    """An e-value: `0.4`, `3.2`, `18`, `2,015`, `over a million`."""
    if math.isnan(e_value):
        return "?"
    if e_value > 1e6:
        return "over a million"
    return f"{e_value:.1f}" if e_value < 10 else f"{math.floor(e_value):,}"


def duration(length: timedelta) -> str:
    """A length of time in at most two units: `45 s`, `10 min`, `1 h 30 min`, `2 d`."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    for unit, size, smaller, step in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole, rest = divmod(seconds, size)
        if whole:
            return f"{whole} {unit}" + (f" {rest // step} {smaller}" if rest // step else "")
    return f"{seconds} s"


# -- phases -------------------------------------------------------------------------------------------------------

PHASES: dict[Phase, tuple[str, str]] = {
    Phase.DRAFT: ("✎", "Draft"),
    Phase.PROPOSED: ("✎", "Plan proposed"),
    Phase.PROGRESSING: ("▶", "Progressing"),
    Phase.PAUSED: ("⏸", "Paused"),
    Phase.WAITING_PROMOTION: ("✋", "Waiting for an approval"),
    Phase.SUCCEEDED: ("✔", "Done, proven safe"),
    Phase.ROLLING_BACK: ("◀", "Rolling back"),
    Phase.ROLLED_BACK: ("↩", "Rolled back"),
    Phase.CANCELLED: ("✖", "Cancelled"),
}
"""A glyph and words for each phase; neither needs the other."""

# -- the card -----------------------------------------------------------------------------------------------------

CARD_TITLE = "{flag} · {environment}"
STAGE_OF = "stage {number} of {total}"
SERVED_LIVE = "*{percent}* of {audience} get `{treatment}`"
SERVED_SHADOW = "`{treatment}` runs in shadow for *{percent}* of {audience}; they still get `{control}`"
NOT_STARTED_SERVED = "Not started: served as before, {exposure}"
NOT_STARTED, NEVER_STARTED = "Not started: nothing was changed yet", "Never started: nothing was changed"
SERVED_WHEN_ASKED = " · it served {exposure} when people were last asked"
EVERYONE = "users"
BEING_SET = "Setting {exposure} …"
BEING_SET_TROUBLE = "⚠ Setting {exposure} has not worked yet, and is tried again: {error}"
VERIFYING_UNTIL = "Confirmed, and watched until {until}, when no late write can land any more."

PAUSED_BECAUSE = "*Why it paused*\n>{reason}\n*What ends it:* {ends}"
ROLLBACK_BECAUSE = "*Why it was rolled back*\n>{reason}"
ROLLING_BACK_BECAUSE = "*Why it is rolled back*\n>{reason}"
TRAIL_BEFORE = "before {exposure}"
APPROVED = "✔ *Approved:* {list}"
APPROVED_START = "the start by {people}, {at}"
APPROVED_STAGE = "stage {number} by {people}, {at}"
APPROVED_FINISH = "the end by {people}, {at}"
BEFORE_AFTER = "*Before:* {before}   →   *After:* {after}"
BLIND_SINCE = "⚠ *Blind since {since}.* Nothing is promoted without data; at {deadline} it is taken back or paused."

APPROVAL_TO_START = "✋ *Approval needed:* start at {after}"
APPROVAL_TO_START_FROM = "✋ *Approval needed:* start, from {before} to {after}"
APPROVAL_TO_PROMOTE = "✋ *Approval needed:* go from {before} to {after}"
APPROVAL_TO_FINISH = "✋ *Approval needed:* finish at {before}"
APPROVAL_WHY = "*Why ask:* {why}"
APPROVAL_QUORUM = "*{have} of {needed} approved*{by} · asked by {requester} · expires {expires}"
APPROVAL_BY = " by {people}"
APPROVAL_BY_ONE = "{person}, {at}"
APPROVAL_ESCALATED = "The backup approvers may decide too, since {since}."

OUTLOOK = "⏱ {outlook}"
CHECKED = "checked {at}"
NEXT_CHECK = "next {at}"
NOT_CHECKED_YET = "not checked yet"
REQUESTED_BY = "Asked for by {requester}"
PLAN_VERSION = "plan v{version} `{digest}`"
DECISIONS = "*Decisions*"
DRIFTED = "⚠ {why}"
MORE_GUARDRAILS = "… and {count} more guardrails; `/rollout why {flag}` shows all."

# -- guardrails ---------------------------------------------------------------------------------------------------

GUARDRAIL_SAFE = ("✔", "proven safe")
GUARDRAIL_AS_PLANNED = ("✔", "as planned")
GUARDRAIL_TOO_FEW_TO_TELL = ("◌", "too few to tell yet")
GUARDRAIL_OPEN = ("◌", "not proven yet")
GUARDRAIL_WARMING = ("◌", "warming up, not counted yet")
GUARDRAIL_TOO_FEW = ("◌", "looks safe, sample too small")
GUARDRAIL_BAKING = ("◌", "proven safe, baking")
GUARDRAIL_SUSPECTED = ("⚠", "harm suspected")
GUARDRAIL_HARMFUL = ("✖", "proven harmful")
GUARDRAIL_ERROR = ("⚠", "can't be measured")
GUARDRAIL_NO_DATA = ("⚠", "no data: {kind}")
NO_DATA_KINDS: dict[NoData, str] = {
    NoData.FLAG_NEVER_EVALUATED: "the flag is never evaluated",
    NoData.NO_TRAFFIC: "no traffic",
    NoData.UNKNOWN_LABEL: "unknown variant",
    NoData.STALE: "it is too old",
    NoData.EMPTY: "empty answer",
}
VALUE_AT_MOST = "{value} · at most {limit}"
VALUE_AT_LEAST = "{value} · at least {limit}"
VALUE_OF_SPLIT = "{value} of new assignments · {limit} planned"
VALUE_LATELY = "lately {value}"
VALUE_TIMES_CONTROL = "{times} × control"
LIMIT_TIMES_CONTROL = "{limit} ({margin} × control's {control})"
LIMIT_PART_OF_CONTROL = "{limit} (control's {control} ÷\N{NO-BREAK SPACE}{margin})"
LIMIT_TIMES_UNKNOWN = "{margin} × control"
LIMIT_PART_OF_UNKNOWN = "control ÷ {margin}"
EVIDENCE_OF_SAFETY = "{bar} evidence {have} of {needed} needed"
EVIDENCE_OF_HARM = "⚠ evidence of harm {have}; {needed} rolls back"
EVIDENCE_ACCEPTED = "⚠ evidence of harm {have}, accepted"
EVIDENCE_PAUSES = "⚠ evidence of harm {have}; {needed} pauses"
SAMPLE = "sample {have} of {needed}"
DATA_AGE = "newest data {age} old"
DATA_NONE = "no data seen"

# -- the plan -----------------------------------------------------------------------------------------------------

STRATEGIES = {"canary": "Canary", "shadow": "Shadow first", "full": "All at once"}
PLAN_HEADS = ("Stage", "Exposure", "At least", "At most", "Sample")
PLAN_HEAD_GUARDRAILS = "Guardrails"
PLAN_STRATEGY = "*{strategy}* · `{control}` → `{treatment}` · {stages} · at least {bake}, checked every {every}"
PLAN_ONE_STAGE = "1 stage"
PLAN_STAGES = "{count} stages"
PLAN_GUARDRAILS = "*Must hold in every stage*"
PLAN_GUARDRAILS_OF_SOME = "*Must hold*"
PLAN_GUARDRAIL_AT_MOST = "`{metric}` at most {margin} × control"
PLAN_GUARDRAIL_AT_LEAST = "`{metric}` at least control ÷ {margin}"
PLAN_GUARDRAIL_OF_SPLIT = "`{metric}`: assignments split as planned"
PLAN_NOT_IN_STAGE = ", not in stage {numbers}"
PLAN_GUARDRAIL_SHORT_AT_MOST = "{metric} ≤ {margin} × control"
PLAN_GUARDRAIL_SHORT_AT_LEAST = "{metric} ≥ control ÷ {margin}"
PLAN_GUARDRAIL_SHORT_OF_SPLIT = "{metric} as planned"
PLAN_CEILING_AT_MOST = ", at 100 % at most {ceiling}"
PLAN_CEILING_AT_LEAST = ", at 100 % at least {ceiling}"
PLAN_ON_FAIL = {"roll_back": "proven harm rolls back", "pause": "proven harm pauses"}
PLAN_RESTS_ON = "*What its stages rest on*"
PLAN_STAGE_BASIS = "{stages}, {facets} · {basis}"
PLAN_STAGE = "Stage {numbers}"
PLAN_SOME_STAGES = "Stages {numbers}"
PLAN_BECAUSE = " · {basis}"
FACETS = {
    "exposure": "exposure",
    "audience": "audience",
    "hold": "at least",
    "limit": "at most",
    "guard": "guards",
    "margin": "margin",
}
BASES = {
    "spec": "spec: “{text}”",
    "person": "asked for: “{text}”",
    "telemetry": "measured: {text}",
    "policy": "policy: {text}",
    "default": "{text}",
}
PLAN_BACKTEST = "*Backtest* · {summary}"
SPEC_STALE_PROPOSED = (
    "⚠ *The spec is not what this was planned from.* {why}\n{source}\nPlan anew, or say that the plan stands; until "
    "then it can't be started."
)
SPEC_STALE_LIVE = (
    "⚠ *The spec is not what this was planned from.* {why}\n{source}\nEach further step waits for those who approve "
    "it; rolling back, pausing and lowering work."
)
SPEC_STANDS = "{why} {actor} said that the plan stands. {source}"
SPEC_READ = "*Spec* · {source} · read {at}"
PLAN_ANEW = "Plan anew"
KEEP_PLAN = "The plan stands …"
TIME_ON_THE_CARD = "the time on the card"
"""In a confirm dialog, in which Slack puts no moment into the reader's zone."""
CONFIRM_KEEP_PLAN = (
    "Does the plan stand?",
    "{flag} in {environment}: {reason} You say, on the record, that the plan holds. Approvals are still asked for.",
    "It stands",
    "Not yet",
)
PLAN_WHY = "*Why this plan*"
PLAN_BLIND = "Without data nothing is promoted; after {budget} without data it is taken back."
PLAN_MORE = "… and {count} more"

# -- buttons and dialogs ------------------------------------------------------------------------------------------

APPROVE, REJECT, START = "Approve", "Reject …", "Start"
CANCEL_PLAN = "Drop the plan"
PROMOTE, PAUSE, RESUME, ROLL_BACK = "Promote now", "Pause …", "Resume", "Roll back"
CONFIRM_ROLL_BACK = (
    "Roll back now?",
    "{flag} in {environment} goes back to {after} at once. This needs no approval.",
    "Roll back",
    "Keep it",
)
CONFIRM_CANCEL = (
    "Drop this plan?",
    "{flag} in {environment} stays as it is. What people approved so far no longer counts; this needs no approval.",
    "Drop it",
    "Keep it",
)
CONFIRM_PROMOTE = (
    "Promote before the proof is complete?",
    "{flag} in {environment} goes from {before} to {after}. An approver decides, and never the one who asked.",
    "Promote now",
    "Wait for proof",
)
CONFIRM_RESUME = (
    "Resume?",
    "{flag} in {environment} goes on at {after}. It paused: {reason}",
    "Resume",
    "Stay paused",
)
CONFIRM_RESUME_ELSEWHERE = (
    "Resume?",
    "{flag} in {environment} goes from {before} to {after}. An approver decides, and never the one who asked. "
    "It paused: {reason}",
    "Resume",
    "Stay paused",
)
REJECT_TITLE, REJECT_SUBMIT = "Reject", "Reject"
REJECT_LABEL, REJECT_HINT = "Why?", "Everyone in the thread will read this."
REJECT_INTRO = "One rejection decides: a start is cancelled, a promotion pauses the rollout."
PAUSE_TITLE, PAUSE_SUBMIT = "Pause", "Pause"
PAUSE_LABEL, PAUSE_HINT = "Why?", "Exposure stays as it is; gates are still watched, and proven harm still rolls back."
PAUSE_INTRO = "Nothing is promoted until someone resumes."
CLOSE = "Cancel"
REASON_MISSING = "Please write a few words."
FROM_THE_CARD = "Rolled back with the card's button"
DROPPED_FROM_THE_CARD = "Dropped with the card's button"
BY_COMMAND = "Asked for with /rollout {subcommand}"

# -- slash commands -----------------------------------------------------------------------------------------------

HELP_TITLE = "Sluice opens flags gate by gate"
HELP_INTRO = (
    "It raises a flag's exposure stage by stage on live evidence, asks people where policy says so, and takes it back "
    "when the evidence turns."
)
HELP_TRY = "*Try these*"
HELP_EXAMPLES = (
    ("start", "a dialog asks which flag and how; a plan is proposed"),
    ("plan {idle}", "propose a staged plan in this channel"),
    ("start {live}", "begin, once it is approved"),
    ("cancel {live}", "drop a plan that has not started"),
    ("status {live}", "where it stands and what the gates say"),
    ("why {live}", "what it waits for"),
)
HELP_WHILE_RUNNING = "*While it runs*"
HELP_RUNNING_EXAMPLES = (
    ("pause {live} --reason waiting for support", "promote nothing until someone resumes"),
    ("resume {live}", "go on"),
    ("promote {live}", "go to the next stage before the proof is complete; an approver decides"),
    ("rollback {live} --reason errors in Spain", "back to where it was, at once"),
    ("kill {live} --env production", "0 % for everyone, at once, rollout or not"),
    ("accept {live}", "override what the gate found of a metric until a time; an approver decides"),
    ("freeze production", "nothing starts or goes further; `unfreeze` lifts it"),
)
HELP_LOOKING = "*Looking around*"
HELP_LOOKING_EXAMPLES = (
    ("list", "every rollout that is open"),
    ("history {live}", "what was decided, by whom and when"),
    ("notify", "what I tell you directly, and your quiet hours"),
    ("plan {idle} --env staging --strategy shadow", "options: `--env`, `--strategy canary | shadow | full`"),
)
HELP_FOOT = "Only you can see this. Every rollout has one card, with a button for what can be done next."

# -- the Home tab -------------------------------------------------------------------------------------------------

HOME_COUNT_WAITING = ("Nothing waits for you", "✋ *{count} waits for you*", "✋ *{count} wait for you*")
HOME_COUNT_OPEN = ("nothing is rolling out", "*{count}* rollout open", "*{count}* rollouts open")
HOME_COUNT_FROZEN = ("", "❄ {count} freeze", "❄ {count} freezes")
HOME_WAITING = "*Waiting for you*"
HOME_NOTHING_WAITS = "Nothing: no open question is one that you may decide, and nothing stands still for you."
HOME_APPROVAL = (
    "✋ *{flag}* in {environment}: {question}\n*{have} of {needed} approved* · asked by {requester} · "
    "expires {expires}\n>{why}"
)
HOME_PAUSED = "⏸ *{flag}* in {environment} is paused\n>{reason}\n*What ends it:* {ends}"
HOME_BLIND = (
    "⚠ *{flag}* in {environment} is blind since {since}: nothing is promoted, and at {deadline} it is taken back or "
    "paused\n*What ends it:* metrics that answer again, or roll back."
)
HOME_STALE = (
    "⚠ *{flag}* in {environment} can't be started\n>{why}\n*What ends it:* on its card, plan anew or say that the plan "
    "stands."
)
HOME_MORE_WAIT = "… and {count} more that wait for you; they follow here as these are settled."
HOME_OTHERS = ("", "{count} question waits for somebody else.", "{count} questions wait for somebody else.")
HOME_UNSURE = "⚠ Slack did not say who is in a user group, so a question of yours may be missing here."
HOME_SEE = "See card"
HOME_OF = "{label} {flag} in {environment}"
HOME_FROZEN = "❄ Frozen {ends}: {reason}"
HOME_OPEN = "*Open rollouts*"
HOME_NOTHING_OPEN = "Nothing is rolling out."
HOME_ROLLOUT = "{glyph} *{flag}* in {environment} · {phase}{stage}"
HOME_SHADOW = " in shadow"
HOME_MORE = "… and {count} more: {phases} in all. `/rollout list` shows more."
HOME_OF_PHASE = "{count} {phase}"
HOME_DECIDED = "*Decided lately*"
HOME_ABOUT = "*{flag}* in {environment}: "
HOME_NEW = "*What I can do*"
HOME_ABLE = (
    "I plan how a flag is opened, stage by stage, from its spec and its traffic.",
    "I watch each stage's metrics, go on only with proof and an approval, and take it back when the evidence turns.",
    "I say why: every decision has its reason, its numbers and its person, and none is lost.",
)
HOME_TRY = "*Three things to try*"
HOME_THINGS_TO_TRY = (
    "Press *Start a rollout …* above, or type `/rollout plan checkout-v2` in a channel. Nothing happens until somebody "
    "approves the plan.",
    "Ask me in *Messages*: “What is rolling out?” or “Why is checkout-v2 waiting?”",
    "Press *My notifications …* to choose what I may tell you directly, and when not.",
)
HOME_HEALTH = "*How everything is*"
HOME_AS_OF = "As of {at}; this tab keeps up for an hour after you open it."
HEALTH_OF = {
    Part.FLAGS: "Flag service ({name})",
    Part.SOURCE: "Metrics of {name}",
    Part.MODEL: "Model {name}",
    Part.CLOCK: "The clock",
}
HEALTH_DOES = {
    Part.FLAGS: ("answers", "does not answer"),
    Part.SOURCE: ("answers", "does not answer, so its gates are blind"),
    Part.MODEL: ("answered", "failed; commands and buttons work without it"),
    Part.CLOCK: ("looks at every rollout in time", "is late; `sluice doctor` says more"),
}
"""What a part does when it is well, and when it is not."""
HEALTH_WELL = "✔ {what} {does} · {at}"
HEALTH_NOT_WELL = "✖ *{what} {does}* · {at}"
HEALTH_UNKNOWN = "○ {what}: nothing known yet"
HEALTH_NO_MODEL = "○ No model is configured; commands, buttons and plans work without one"

# -- what people want to be told ------------------------------------------------------------------------------------

NOTIFY_OPEN = "My notifications …"
NOTIFY_TITLE, NOTIFY_SUBMIT = "My notifications", "Save"
NOTIFY_LOADING = "Reading what you chose …"
NOTIFY_INTRO = "What I tell you by direct message. Cards and threads are the same for everybody."
NOTIFY_APPROVALS = "Approvals that wait for me"
NOTIFY_APPROVALS_CHOICES = (("on", "Tell me"), ("off", "Don't; the thread and Home are enough"))
NOTIFY_OWN = "Rollouts that I asked for"
NOTIFY_OWN_CHOICES = {
    Own.NOTHING: ("Nothing", "Their threads mention me when I'm needed"),
    Own.NEEDED: ("What needs me", "Pauses, rollbacks, trouble, questions that nobody answered"),
    Own.EVERYTHING: ("Everything", "Starts, promotions and ends too"),
}
NOTIFY_QUIET_FROM, NOTIFY_QUIET_TO = "Quiet hours from", "Quiet hours to"
NOTIFY_QUIET_HINT = "Leave both empty for none. What comes meanwhile is one message when they are over."
NOTIFY_DAYS = "Days on which they begin"
NOTIFY_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NOTIFY_ZONE = "Times are {zone}, as in your Slack profile. *Rollbacks and pages are never held back.*"
NOTIFY_BOTH = "Give both times, or neither."
NOTIFY_NO_DAYS = "Choose a day at least, or leave both times empty."
NOTIFY_SAVED = "Saved. Approvals: {approvals}. Your rollouts: {own}. Quiet hours: {quiet}."
NOTIFY_QUIET_NONE = "none"
NEWS_OF_MINE = "{count} things happened to rollouts that you asked for:"
NEWS_BEFORE = "… {count} more came before; the rollouts' threads have them."
NOTIFY_QUIET_SPAN = "{start} to {end} ({zone})"

# -- links to rollouts --------------------------------------------------------------------------------------------

SHARE = "To share it: {url}"

# -- conversation ------------------------------------------------------------------------------------------------

STATUS_THINKING = "is thinking …"
ANSWERED = "Here is what I found."
STILL_WORKING = "Still working. ❌ on this message stops me."
TASKS = "What I looked at and did"
FROM_THE_RECORDS = "*From the records*"
RECORD = "• {fact}"
TASK_LEFT = "{title} (left as it was)"
MORE_RECORDS = "… and {count} more lines."
NO_WORDS = "What can you do?"
STOPPED_ANEW = "I stopped here, and begin again."
CONFIRMATIONS: dict[Action, tuple[str, str]] = {
    Action.ROLL_BACK: ("Roll `{flag}` back in {environment}?", "Roll it back"),
    Action.KILL: ("Take `{flag}` to 0 % for everyone in {environment}?", "Take it to 0 %"),
    Action.PAUSE: ("Pause `{flag}` in {environment}?", "Pause it"),
    Action.LOWER: ("Lower `{flag}` in {environment} to {percent}?", "Lower it to {percent}"),
}
"""What is asked, and the button that says yes."""
CONFIRMATION_NO = "No, leave it"
CONFIRMATION_INTRO = "That is how I understood you. Nothing has happened yet; {person} can decide until {until}."
CONFIRMATION_OUTCOMES: dict[Status, str] = {
    Status.CONFIRMED: "✔ {person} confirmed it at {at}.",
    Status.DISMISSED: "✖ {person} left it as it is at {at}.",
    Status.EXPIRED: "⏱ Nobody decided; the question closed at {at}.",
}
FEEDBACK_GOOD, FEEDBACK_BAD = "Good answer", "Bad answer"
FEEDBACK_TITLE, FEEDBACK_SUBMIT, FEEDBACK_CLOSE = "What was wrong?", "Send", "Skip"
FEEDBACK_INTRO = "Your 👎 is noted. A reason helps whoever looks after Sluice."
FEEDBACK_LABEL, FEEDBACK_HINT = "What was wrong?", "Kept with the answer; nobody in the thread sees it."
FEEDBACK_THANKS = "Thank you, noted."
FEEDBACK_UNKNOWN = "I no longer have that answer, so there is nothing to note it with."
PROSE_CUT = "… (cut here: this was longer than Slack shows)"
ADDRESS_REMOVED = "‹address removed›"

# -- asking people directly --------------------------------------------------------------------------------------

CALL = "✋ *{flag}* in {environment} waits for your answer: {question} Asked by {requester} · expires {expires}.{link}"
CALL_BACKUP = (
    "✋ *{flag}* in {environment} has waited for long, so you may answer as a backup: {question} "
    "Asked by {requester} · expires {expires}.{link}"
)
CALL_ANSWERED = (
    "✔ You approved *{flag}* in {environment} {at}: {question} {have} of {needed} approved, so it waits for others."
    "{link}"
)
CALL_GRANTED = "✔ Approved by {people} {at}: *{flag}* in {environment}, {question} Nothing is left to do.{link}"
CALL_REJECTED = "✖ Rejected by {people} {at}: *{flag}* in {environment}, {question} The reason: {why}{link}"
CALL_EXPIRED = "⏱ Nobody decided in time: *{flag}* in {environment}, {question} It is no longer asked.{link}"
CALL_VOID = "✖ No longer asked: *{flag}* in {environment}, {question} {why}{link}"
REMINDER = "⏱ Still open, {have} of {needed} approved: {question} Expires {expires}."
ESCALATION = (
    "⏱ Still open, {have} of {needed} approved: {question} The backup approvers may decide too. Expires {expires}."
)
TOO_FEW_CAN_ANSWER = "{who} can answer it now{besides}: add approvers in sluice.toml, or people to its user group."
NOBODY, ONLY_SOME = "Nobody", "Only {able} of the {missing} people that it takes"
STRANGERS_BESIDES = ", for guests and people of other organisations can't"

# -- what is typed wrong ------------------------------------------------------------------------------------------

UNKNOWN_SUBCOMMAND = "I don't know `{given}`. Did you mean `/rollout {nearest}`?"
UNKNOWN_SUBCOMMAND_FAR = "I don't know `{given}`. `/rollout help` shows what I can do."
UNKNOWN_OPTION = "`/rollout {subcommand}` has no option `{given}`. It takes {known}."
NO_OPTIONS = "`/rollout {subcommand}` takes no options, so I can't use `{given}`."
OPTION_WITHOUT_VALUE = "`{option}` needs a value, like `{option} {example}`."
OPTION_TWICE = "`{option}` is given twice; keep one."
FLAG_MISSING = "Which flag? Like `/rollout {subcommand} checkout-v2`."
FLAG_ODD = "`{given}` can't be a flag's name: letters, digits and . _ : / - only."
TOO_MANY_WORDS = "I don't know what to do with `{given}`. Like `/rollout {example}`."
UNKNOWN_STRATEGY = "`{given}` is no strategy; choose canary, shadow or full."
NEAR_FLAGS = "Did you mean {names}?"
UNKNOWN_ENVIRONMENT = "I know no environment `{given}`: no setting names it, and the flag service has no flag there."
KNOWN_ENVIRONMENTS = "Environments that I know: {names}."
OPEN_IN_SEVERAL = "`{flag}` is rolling out in {environments}. Say which: `/rollout {subcommand} {flag} --env {first}`."
OPTION_EXAMPLES = {"--env": "staging", "--strategy": "shadow", "--reason": "errors in Spain"}

PLANNING_ROUTED = (
    "Planning `{flag}` for {environment}. The plan appears where its route in sluice.toml says, or here without one."
)
PLANNING_AGAIN = (
    "Planning `{flag}` for {environment} anew. Your plan v{version} is in {channel}: what differs becomes its next "
    "version there.{link}"
)
PLAN_THERE = "The plan of `{flag}` in {environment} is in {channel}."
PLAN_REPLACED = (
    "Your plan of `{flag}` in {environment} is now v{version}, in {channel}{changes}. Earlier approvals no longer "
    "count.{link}"
)
PLAN_TOOK_PLACE = (
    "The plan of `{flag}` in {environment} is now v{version}, in {channel}{changes}. It took the place of what "
    "{former} asked for: earlier approvals no longer count, and as you asked for it, you can't approve it.{link}"
)
PLAN_OF_ANOTHER = (
    "✋ There is a plan of `{flag}` in {environment} already: v{version} in {channel}, asked for by {requester}"
    "{approved}.{link}\nA new one becomes v{next} of it, on the same card: earlier approvals no longer count, and as "
    "whoever asks, you can't approve it."
)
PLAN_APPROVED_SO_FAR = ", {count} approved so far"
PLAN_IN_PRIVATE = "a conversation with me"
PLAN_INSTEAD = "Plan it anew all the same"
PLAN_WISHES_TOO_LONG = "What the plan should heed and its spec's address are too long together: shorten the note."
PLAN_UNCHANGED = "Nothing has changed: plan v{version} of `{flag}` in {environment} still stands.{link}"
PLAN_REASON = "/rollout plan"
PLAN_FAILED = "I couldn't plan `{flag}` for {environment}. {reason}"
NOT_A_MEMBER = "I'm not in this channel, so I can't show a plan here. Type `/invite @Sluice`, then try again."
STARTED = "`{flag}` in {environment} starts at {exposure}.{link}"
WAITS_FOR_APPROVAL = "`{flag}` in {environment} waits for an approval: {have} of {needed} so far.{link}"
PROMOTED = "`{flag}` in {environment} goes to stage {number} of {total}, {exposure}.{link}"
FINISHED = "`{flag}` in {environment} is done, at {exposure}.{link}"
PAUSED = "`{flag}` in {environment} is paused at {exposure}.{link}"
RESUMED = "`{flag}` in {environment} goes on.{link}"
ROLLING_BACK = "`{flag}` in {environment} is going back to {exposure}.{link}"
ROLLED_BACK = "`{flag}` in {environment} is back at {exposure}.{link}"
CANCELLED = "The plan for `{flag}` in {environment} is dropped.{link}"
CANCEL_TOO_LATE = (
    "The rollout of {flag} is {phase}, so it is no mere plan any more: `/rollout rollback {flag}` takes it back."
)
KILLED_ALONE = "`{flag}` in {environment} is being taken to 0 % for everyone. The alerts channel hears when it is done."
NO_ROLLOUTS = "Nothing is rolling out. Start with `/rollout plan FLAG`."
LIST_TITLE = "*{count} open*"
LIST_LINE = "{glyph} *{flag}* in {environment} · {phase}{where} · {exposure}"
LIST_MORE = "… and {count} more."
HISTORY_TITLE = "*History of `{flag}` in {environment}*, the newest last"
HISTORY_EMPTY = "Nothing has happened yet."
HISTORY_LINE = "{at} · {line}"
CARD_LINK = " <{url}|Open its card>"

WHY_TITLE = "*Why `{flag}` in {environment} is where it is*"
WHY: dict[Phase, str] = {
    Phase.DRAFT: "It is a draft.",
    Phase.PROPOSED: "It has not started. `/rollout start {flag}` starts it, once approved.",
    Phase.PROGRESSING: "It waits for proof that it is safe. Proven, it goes on; proven harmful, it is taken back.",
    Phase.PAUSED: "It is paused, so nothing is promoted; proven harm still rolls back.",
    Phase.WAITING_PROMOTION: "It waits for an approval; the gates are still watched.",
    Phase.SUCCEEDED: "It has ended: every stage was proven safe.",
    Phase.ROLLING_BACK: "It is being taken back, and tried again until a read-back shows it.",
    Phase.ROLLED_BACK: "It has ended: it was rolled back.",
    Phase.CANCELLED: "It has ended: it never started.",
}
WHY_BAKING = "The stage must last until {until} at least."
WHY_LIMIT = "Without proof by {until} it pauses and asks a person."
WHY_NO_CHECK = "The gate has not been checked yet."

# -- the dialog that starts a rollout ---------------------------------------------------------------------------------

START_OPEN = "Start a rollout …"
START_TITLE, START_SUBMIT = "Start a rollout", "Plan it"
START_INTRO = "I make a staged plan from the flag's spec and its traffic. Nothing happens until people approve it."
START_FLAG, START_FLAG_PLACEHOLDER = "Flag", "Type to search"
START_ENVIRONMENT, START_STRATEGY = "Environment", "Strategy"
START_STRATEGIES = {
    "undecided": ("As it fits", "The planner decides from the spec and the traffic"),
    "canary": ("Canary", "Live for a few, then for more, gate by gate"),
    "shadow": ("Shadow first", "It runs beside the old answer before anybody gets it"),
    "full": ("All at once", "One stage for everyone, behind gates"),
}
START_CHANNEL = "Where the plan is posted and talked about"
START_CHANNEL_ROUTED = "Alerts about it go where its route in sluice.toml says, whatever you choose here."
START_NOTE, START_NOTE_HINT = "Anything the plan should heed?", "Like: eu first, nothing before Monday."
START_FOOT = "`/rollout help` shows all that can be typed instead."
START_SERVED = "Now at {exposure}"
START_NO_FLAGS = "No flag is called so in {environment}"
START_FLAGS_UNKNOWN = "The flag service didn't answer; type on in a moment"
START_FLAG_MISSING = "Choose a flag."
START_UNDER_WAY = "{flag} is rolling out in {environment} already; see /rollout status {flag}."
START_NOT_A_MEMBER = "I'm not in that channel. Type /invite @Sluice there, or choose another."
START_CHANNEL_MISSING = "Choose the channel where the plan is posted."
PLANNING_IN = "Planning `{flag}` for {environment}. The plan appears in {channel} in a moment."

# -- freezes ------------------------------------------------------------------------------------------------------

FREEZE_ENDS = "until {until}"
FREEZE_OPEN = "until someone lifts it"
FREEZE_BY = ", by {person}"
FREEZE_OF_SETTINGS = ", by sluice.toml"
FREEZE_NOTICE = (
    "❄ *Frozen {ends}*{by}: {reason}\nNothing starts or goes further; rolling back, pausing and lowering work."
)
FREEZE_REFUSED = "Nothing goes up now: frozen {ends}{by}: {reason}. Lowering and rolling back are possible at any time."
FREEZE_EVERYTHING = "everything"
FREEZE_EVERYWHERE = "every environment"
FREEZE_OF = "{what} in {environments}"
FREEZE_TAGGED = "flags tagged {tags}"
FREEZES_TITLE = "*❄ Freezes*"
FREEZES_NONE = "Nothing is frozen. `/rollout freeze` freezes an environment."
FREEZES_NONE_THERE = "Nothing is frozen in {environment}."
FREEZES_LINE = "*{of}*: {span}{by}\n>{reason}"
FREEZES_FROM = "from {start} {ends}"
FREEZE_LIFT = "Lift"
FREEZE_OPEN_BUTTON = "Freeze …"
CONFIRM_LIFT = (
    "Lift this freeze?",
    "What is proven safe goes on again. {reason}",
    "Lift it",
    "Keep it",
)
FREEZE_TITLE, FREEZE_SUBMIT = "Freeze", "Freeze"
FREEZE_INTRO = (
    "❄ Nothing starts and nothing goes further while it lasts. Gates are still watched; rolling back, killing, pausing "
    "and lowering work as ever. Any approver of the environment can lift it."
)
FREEZE_ENVIRONMENT = "Environment"
FREEZE_FLAG, FREEZE_FLAG_HINT = "Only this flag", "Leave it empty to freeze everything there."
FREEZE_TAG, FREEZE_TAG_HINT = "Only flags with this tag", "Such as revenue-critical; instead of a flag."
FREEZE_START, FREEZE_START_HINT = "From", "In your time zone. Without a time it begins at once."
FREEZE_UNTIL, FREEZE_UNTIL_HINT = "Until", "In your time zone. Without a time it lasts until someone lifts it."
FREEZE_REASON, FREEZE_REASON_HINT = "Why?", "Everyone whose rollout it keeps will read this."
FREEZE_FLAG_ODD = "That can't be a flag's name: letters, digits and . _ : / - only."
FREEZE_TAG_ODD = "That can't be a tag: letters, digits and . _ : / - only."
FREEZE_FLAG_OR_TAG = "Name a flag or a tag, not both."
FREEZE_ENDS_FIRST = "It must end after it begins."
FREEZE_ENDS_NEVER = (
    "It would end after the year 9999: choose a shorter time, or none to freeze until somebody lifts it."
)
UNTIL_PAST = "Choose a time that is still to come."
FROZE = "❄ Frozen {span}: {of}. `/rollout unfreeze` lifts it."
LIFTED = "The freeze of {of} is lifted."

# -- accepting what a gate finds ----------------------------------------------------------------------------------

ACCEPT = "Accept a finding …"
WITHDRAW = "Count {metric} again"
CONFIRM_WITHDRAW = (
    "Count it again?",
    "{metric} is accepted until {until}. From the next check on it can hold, pause and roll back again.",
    "Count it again",
    "Keep it accepted",
)
ACCEPT_TITLE, ACCEPT_SUBMIT = "Accept a finding", "Accept"
ACCEPT_LOADING = "Reading what the gate found …"
ACCEPT_INTRO = (
    "*{flag}* in {environment}: until the time below this metric holds, pauses and rolls back nothing, in this stage "
    "and the later ones. Blindness, the other metrics, bake time and sample count as ever."
)
ACCEPT_METRIC, ACCEPT_METRIC_HINT = "What is accepted", "Far worse than accepted rolls back all the same{far}."
ACCEPT_FAR = ": {metric} from {times} × control"
ACCEPT_UNTIL = "Until"
ACCEPT_UNTIL_HINT = "In your time zone, at most {longest} from now. Then it counts again by itself."
ACCEPT_REASON = "Why is that fine?"
ACCEPT_REASON_HINT = "It stands on the card, in the thread and in the decision log."
ACCEPT_OPTION = "{metric}: {judged}"
ACCEPT_TOO_LONG = "Choose a time within {longest}."
ACCEPT_NAMES_TOO_LONG = "The metric's name is longer than Slack can carry in a dialog; give it a shorter one."
ACCEPT_STAYS_PAUSED = "It is paused, and stays so until someone resumes it."
ACCEPTED_LINE = "⚑ accepted until {until} by {person}: {reason}"
ACCEPTED = "`{metric}` of `{flag}` in {environment} is accepted until {until}.{link}"
WITHDRAWN = "`{metric}` of `{flag}` in {environment} counts again from the next check on."

# -- the dialog that edits a plan --------------------------------------------------------------------------------------

EDIT_PLAN = "Edit plan …"
EDIT_TITLE, EDIT_SUBMIT = "Edit the plan", "Put it in force"
EDIT_LOADING = "Measuring what its metrics did lately …"
EDIT_INTRO = (
    "*{flag}* in {environment}, plan v{version}. What you change is judged at once. What people approved so far no "
    "longer counts once it is sent."
)
EDIT_INTRO_RUNNING = (
    "*{flag}* in {environment}, plan v{version}. It is running, so its plan can only become more cautious: longer, "
    "smaller, or with stages put in between."
)
EDIT_STAGE_DONE = "✔ Stage {number} · {exposure} · done"
EDIT_STAGE_IN_FORCE = "● *Stage {number}* · {exposure} · in force"
EDIT_PERCENT = "Stage {number}: percent"
EDIT_MODE, EDIT_HOLD, EDIT_LIMIT = "Mode", "At least", "At most"
EDIT_MODES = {"live": "Live", "shadow": "In shadow"}
EDIT_AT_LEAST, EDIT_AT_MOST = "at least {length}", "at most {length}"
EDIT_AS_PROVEN = "as long as proof takes"
EDIT_ADD, EDIT_REMOVE = "Stage after", "Remove"
EDIT_PROVEN = "✔ `{metric}` is proven within {needed} in nine rollouts of ten · at most {limit} · sample {sample}"
EDIT_TOO_SHORT = (
    "⚠ Can't be proven in {limit}: `{metric}` needs {needed} in nine rollouts of ten. It would pause and ask a person."
)
EDIT_NOT_MEASURED = "◌ Nothing was measured lately, so nobody can say how long the proof takes."
EDIT_NOT_JUDGED = "◌ Not judged yet."
EDIT_FAULT = "✖ {fault}"
EDIT_FAULT_OF = "Stage {number}: {fault}"
EDIT_MARGIN = "{metric}: margin, × control"
EDIT_IN_ALL = "*In all* {usual} or less in nine rollouts of ten, at most {longest} before it pauses and asks."
EDIT_IN_ALL_UNKNOWN = "*In all* it can't be told yet how long it takes."
EDIT_REASON, EDIT_REASON_HINT = "Why?", "Everyone in the thread reads it beside what changed."
EDIT_WORDS = "the table of stages"
EDIT_OVERTAKEN = (
    "Meanwhile the plan became v{now}, and you edit v{version}: close this, look at the card, and edit again."
)
EDIT_TOO_LATE = "{flag} is {phase}, so its plan can't be changed; propose a new one."
EDIT_STILL_MEASURING = "Its metrics are still being measured; send it again in a moment."

# -- the gate chart, and what is said of it to whoever can't see it ----------------------------------------------------

CHART_TITLE, CHART_FLAG = "{metric} · {flag}", "{flag}, {environment}"
CHART_LIMIT_NAME = "limit"
CHART_OF_SAFETY, CHART_OF_HARM, CHART_EVIDENCE = "of safety", "of harm", "evidence"
CHART_TIME = "{unit} since the first check"
CHART_PAUSES, CHART_PROMOTES, CHART_ROLLS_BACK = "pauses", "promotes", "rolls back"
CHART_PROVEN_HARMFUL, CHART_SUSPECTED, CHART_PROVEN_SAFE = "harm proven", "harm suspected", "proven safe"
CHART_MEAN, CHART_LATENCY, CHART_SHARE, CHART_RATE = "mean", "latency", "share", "rate"
CHART_BAND = "{shown}, {sureness} band"
CHART_HEAD = "{metric} of {flag} in {environment} over {span}, {checks} checks shown."
CHART_ARMS = "Treatment {arms}; {limit}.{sureness}"
CHART_CONTROL = ", control {value}{range}"
CHART_HARM = "Evidence of harm was at most {evidence} ({levels})."
CHART_HARM_AND_SAFETY = "Evidence of harm was at most {evidence} ({levels}); of safety it is {safety} of {needed}."
CHART_STAGES = "Stages: {stages}."
CHART_STAGE_FIRST, CHART_STAGE = "{exposure} at first", "{exposure} {after}"
CHART_AFTER = "after {span}"
CHART_HARM_PROVEN, CHART_HARM_SUSPECTED = "Harm was proven {after}.", "Harm was suspected {after}."
CHART_SAFE = "Stage {number} was proven safe {after}."
CHART_LIMIT_BELOW, CHART_LIMIT_ABOVE = "it must stay below {limit}", "it must stay above {limit}"
CHART_LIMIT_OF_SPLIT = "{limit} are planned"
CHART_LIMIT_NONE = "control's mean is not above 0, so no limit is drawn"
CHART_LIMIT_UNREACHED = "its limit, {margin} × control, would be above 100 %, so no rate can exceed it"
CHART_SURE = " The ranges hold at all checks at once, with {sureness} confidence."

# -- shortcuts, and what Slack suggests to ask ------------------------------------------------------------------------

SHORTCUT_REQUEST = "Plan a rollout from this message:"
SHORTCUT_HEARD = "I read it, and answer in its thread."
SHORTCUT_EMPTY = "That message has no text to plan from."
START_LOADING = "Looking for the flag that it names …"
PROMPTS_TITLE = "You could ask"
PROMPTS: dict[Phase, str] = {
    Phase.ROLLING_BACK: "Why is {flag} being rolled back?",
    Phase.PAUSED: "Why is {flag} paused?",
    Phase.WAITING_PROMOTION: "What does {flag} wait for?",
    Phase.PROGRESSING: "Why is {flag} held where it is?",
    Phase.PROPOSED: "Why is the plan for {flag} as it is?",
}
PROMPT_ELSEWHERE = "{flag} in {environment}"
PROMPTS_ALWAYS = ("What is rolling out right now?", "What can you do?")

# -- the tour through the demo --------------------------------------------------------------------------------------

TOUR_PLAN = (
    "Ask for a plan.",
    "Mira wants the new checkout out. Sluice reads its spec and its traffic, and proposes stages.",
)
TOUR_APPROVE = (
    "Approve it.",
    "Whoever asks can't approve. Jonas may: read the plan on the card, then press the button.",
)
TOUR_WATCH = (
    "Watch the gate.",
    "The first customers have it now. The card counts the evidence and goes on once it is proven safe.",
)
TOUR_BREAK = (
    "Make it fail.",
    "Break the new checkout: 60 % of its payments fail from now on. Nobody has to notice.",
)
TOUR_HISTORY = (
    "See why.",
    "It is back at 0 %, by itself. Ask for everything that was decided, by whom and on which evidence.",
)

# -- errors -------------------------------------------------------------------------------------------------------

UNEXPECTED = (
    "Something went wrong on my side; nothing was changed that I know of. Tell whoever runs Sluice: `{reference}`."
)
NO_APPROVER = "You are not on the list of approvers, so you can't decide this; ask one of them."
REFUSED_TITLE, REFUSED_CLOSE = "This can't be decided", "Close"
UNKNOWN_DIALOG = "That is from another version of me, so nothing was changed; start again with `/rollout`."
UNKNOWN_BUTTON = "That button is not one of mine any more; use the buttons on the rollout's newest card."
DIALOG_NOT_OPENED = "Slack did not open the dialog in time. Please press the button once more."

# -- what happened: a line in the thread, in the history, or in the alerts channel ------------------------------------

LINES: dict[Happening, str] = {
    Happening.PLAN_PROPOSED: "✎ {actor} proposed plan v{version}.",
    Happening.PLAN_REVISED: "✎ {actor} changed the plan to v{version}{changes}{asked}; "
    "earlier approvals no longer count.",
    Happening.BACKTESTED: "⏪ {actor} replayed the plan. {summary}",
    Happening.CANCELLED: "✖ {actor} dropped the plan: {reason}",
    Happening.STARTED: "▶ {actor} started it at {exposure}; before, it was {known_good}.",
    Happening.PROMOTED: "▶ {actor} promoted it from {before} to {after}: {why}",
    Happening.PAUSED: "⏸ {actor} paused it: {reason} · What ends it: {ends}",
    Happening.RESUMED: "▶ {actor} resumed it at {exposure}.",
    Happening.SUCCEEDED: "✔ Done. {why}",
    Happening.ROLLBACK_STARTED: "◀ {actor} is rolling it back from {before} to {target}: {reason}",
    Happening.ROLLBACK_STUCK: "⚠ The rollback has not worked since {since}, and is tried again and again: {error} "
    "Set the flag by hand if it can't wait.",
    Happening.ROLLBACK_VERIFYING: "◀ Back at {exposure}; watched until {until}, when no late write can land any more.",
    Happening.ROLLED_BACK: "↩ Rolled back: read back as {exposure} after {seconds} s.",
    Happening.KILL_ORDERED: "◀ {actor} is taking {flag} in {environment} to 0 % for everyone: {reason}",
    Happening.KILLED: "↩ {flag} in {environment} is at 0 % for everyone.",
    Happening.APPROVAL_REQUESTED: "✋ Please decide: {question} Why ask: {why}. Expires {expires_at}.",
    Happening.APPROVAL_REMINDED: "⏱ People were reminded that this is still open; it expires {expires_at}.",
    Happening.APPROVAL_ESCALATED: "⏱ Still open, so the backup approvers may decide too; it expires {expires_at}.",
    Happening.APPROVAL_VOTED: "{vote} {actor} {voted} ({have} of {needed}).{because}",
    Happening.APPROVAL_GRANTED: "✔ Approved by {by}.",
    Happening.APPROVAL_REJECTED: "✖ {actor} rejected it: {reason}",
    Happening.APPROVAL_EXPIRED: "⏱ Nobody decided in time, so the question is closed.",
    Happening.APPROVAL_VOIDED: "✖ The question is withdrawn: {why}",
    Happening.EXPOSURE_LOWERED: "◀ {actor} is lowering it from {before} to {target}, where it pauses: {reason}",
    Happening.EXPOSURE_CONFIRMED: "✔ Read back as {exposure}.",
    Happening.EXPOSURE_STUCK: "⚠ {target} could not be set since {since}, and is tried again and again: {error}",
    Happening.CHANGED_BY_HAND: "⚠ Someone changed the flag by hand from {expected} to {found}. {raised}",
    Happening.CONFIRMATION_ASKED: "✋ I understood that {actor} wants this: {deed}. It waits for their button.",
    Happening.CONFIRMATION_GIVEN: "✔ {actor} confirmed it: {deed}.",
    Happening.CONFIRMATION_DISMISSED: "✖ {actor} did not mean it: {deed}.",
    Happening.METRICS_BLIND: "⚠ The gate is blind: {reason}",
    Happening.METRICS_BACK: "✔ The gate sees again: {why}",
    Happening.DRIFT_FOUND: "⚠ Not as planned: {why} That alone neither promotes it nor rolls it back.",
    Happening.DRIFT_OVER: "✔ As planned again, for {minutes} min: {quantities}.",
    Happening.FREEZE_MADE: "❄ {actor} froze {of} {ends}: {reason}",
    Happening.FREEZE_LIFTED: "❄ {actor} lifted the freeze of {of}: {reason}",
    Happening.SPEC_CHANGED: "⚠ {why} {source} · Open questions are withdrawn: plan anew, or say on the card that the "
    "plan stands.",
    Happening.SPEC_AS_PLANNED: "✔ The spec is again what this was planned from. {source}",
    Happening.SPEC_ACCEPTED: "✎ {actor} said that the plan stands. {why}",
    Happening.FREEZE_HOLDS: "❄ Frozen {ends}{by_whom}: {reason} · Until then it goes no further.",
    Happening.FREEZE_OVER: "❄ No longer frozen: it goes on by itself once it may. It was: {reason}",
    Happening.ACCEPTANCE_GIVEN: "⚑ {actor} accepted what was found of {metric} until {ends_at}: {reason}{far_worse}",
    Happening.ACCEPTANCE_WITHDRAWN: "⚑ {actor} has {metric} count again.",
    Happening.ACCEPTANCE_EXPIRED: "⏱ {metric} counts again: what {by} accepted has run out.",
    Happening.ACCEPTANCE_VOIDED: "✖ {metric} counts again: the plan guards it otherwise than when {by} accepted it.",
    Happening.CHECKS_DELETED: "Its checks that no decision rested on were deleted.",
}
QUESTION_START = "start at {to_exposure}?"
QUESTION_START_FROM = "start at {to_exposure}, from {before}?"
QUESTION_PROMOTE = "go on to {to_exposure}?"
QUESTION_FINISH = "finish?"
FAR_WORSE = " · From {far} × control it rolls back all the same."
VOTED = {"approve": ("✔", "approved"), "reject": ("✖", "rejected")}
BECAUSE = " {reason}"
VOTES_LAPSED = " No longer counted: {people}, who may not approve this any more."
RAISED_BY_HAND = "It was raised, so it is paused: resume to go back to the plan, or roll back."
LOWERED_BY_HAND = "That is respected: it is paused."
CHANGES = " ({changes})"
ASKED = ", asked for with: {reason}"
DEEDS = {
    "roll_back": "roll back {flag} in {environment}",
    "kill": "take {flag} in {environment} to 0 % for everyone",
    "pause": "pause {flag} in {environment}",
    "lower": "lower {flag} in {environment} to {percent} %",
}
NOT_SAID = "not said"
MENTIONING = "{people} {line}"
ABOUT = "*{flag}* in {environment}: {line}"
TOLD_LATE = "⏱ {count} things happened that could not be told at once:"
TOLD_LATE_LINE = "{at}  {line}"
