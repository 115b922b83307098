"""The kinds of failure that PoseSyn tells apart: the user's mistakes, bad data, and nothing left to go on with."""


class PoseSynError(Exception):
    """Base of every error raised on purpose by PoseSyn; its text is one clear sentence."""


class UserError(PoseSynError):
    """A mistake the user can mend: the sentence names the file or key and the remedy.

    The command line prints it and exits with code 2; ``--debug`` shows the traceback.
    """


class SampleError(PoseSynError):
    """Bad data in one unit of work: the unit is rejected and recorded, the run goes on."""


class NothingLeft(PoseSynError):
    """A stage left nothing to go on with: all of its units were rejected, or all frames dropped.

    The command line prints it and exits with code 1: the data or the settings are to be looked at.
    """


class PoseSynWarning(UserWarning):
    """Something the user should know though the work goes on; the command line prints its sentence."""
