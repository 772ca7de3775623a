"""What can be wrong with a container engine, by remedy.

::

    EngineFault
    ├── EngineAway        no daemon answers: the node's operator must start it
    ├── ImageMissing      no such image, or its registry says no: the user must name another
    ├── ImageRefused      no registry could serve a name like this: the user must name another
    ├── PlanRefused       image, user, command or directories do not fit together: the user's to correct
    └── EngineRefused     the daemon answered with an error; the text is the daemon's
"""


class EngineFault(Exception):
    """The container engine did not do its part."""


class EngineAway(EngineFault):
    """No daemon answers."""


class ImageMissing(EngineFault):
    """The image cannot be had."""


class ImageRefused(EngineFault):
    """The name is no image's name."""


class PlanRefused(EngineFault):
    """What was to be run does not fit together."""


class EngineRefused(EngineFault):
    """The daemon answered with an error; ``status`` is its HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status
