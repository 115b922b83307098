"""The two kinds of failure."""

import pytest

from posesyn_core import SampleError, UserError
from posesyn_core.errors import PoseSynError


@pytest.mark.parametrize("kind", [UserError, SampleError])
def test_both_kinds_are_ours_and_say_their_sentence(kind: type[PoseSynError]) -> None:
    with pytest.raises(PoseSynError, match=r"^the box has no area$"):
        raise kind("the box has no area")


def test_a_bad_sample_is_not_the_users_mistake() -> None:
    assert not issubclass(SampleError, UserError)
    assert not issubclass(UserError, SampleError)
