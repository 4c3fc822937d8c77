"""One tree of expected errors. `str(error)` is one sentence for a person that says what to do.

Anything that is not a `SluiceError` is a fault of ours: it is logged with a reference id at the edge.
"""


class SluiceError(Exception):
    """An expected failure. The message may be shown to a person as it is; it never holds a secret."""


class InvalidInput(SluiceError):
    """What was given can't be used; the message says what would be accepted."""


class ConfigurationError(InvalidInput):
    """A setting is missing or wrong; the message names its key."""


class NotFound(SluiceError):
    """The thing named does not exist; the message lists near names where there are any."""


class NotAllowed(SluiceError):
    """The actor may not do this, or policy denies it; the message says who may."""


class Conflict(SluiceError):
    """Something changed meanwhile, or the state does not allow this; look again and retry."""


class Unavailable(SluiceError):
    """An outside system did not answer or answered wrongly; the same call may work later."""
