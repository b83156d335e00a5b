import pytest

from odradek.cli.errors import FAILED, NOT_FOUND, CommandError, command_error
from odradek.client.errors import ConnectError
from odradek.core.errors import ApiError, ErrorCode


def test_cause_fix_and_code_of_an_api_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = command_error(ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no topic x"))
    assert error.exit_code == NOT_FOUND
    error.show()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == "error: there is no topic x (UNKNOWN_TOPIC_OR_PARTITION)"
    assert "odradek topic list" in shown.err


def test_an_error_without_a_message_is_its_name() -> None:
    error = command_error(ApiError(ErrorCode.INVALID_CONFIG))
    assert (error.message, error.exit_code) == ("INVALID_CONFIG", FAILED)


def test_a_lost_connection_says_what_to_do() -> None:
    error = command_error(ConnectError("cannot reach it", "Start one."))
    assert (error.message, error.fix, error.exit_code) == ("cannot reach it", "Start one.", FAILED)


def test_command_errors_may_have_no_fix(capsys: pytest.CaptureFixture[str]) -> None:
    CommandError("broken").show()
    assert capsys.readouterr().err == "error: broken\n"
