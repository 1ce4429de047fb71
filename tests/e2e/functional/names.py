"""What the rows share: names of actors and aliases, words of refusals."""

from __future__ import annotations

MAIN, TARGET, FUNC, LOOP = "abaco_test_suite", "alias_target", "func", "sleep_loop"
STATELESS, HINTS, ENV, CRON, LOG_EX, SPECIAL = (
    "default_stateless", "hints", "env", "cron", "log_ex", "special_queue",
)  # fmt: skip
OF_LIMITED = "of_the_limited_user"
ENVIRONMENT = {"foo": "bar", "bar": "baz"}

ALIAS, SECOND_ALIAS, DOTTED_ALIAS = "jane", "doe", "jane.doe.abaco"

NO_ALIAS = "you do not have access to this alias"
NO_ALIAS_AND_ACTOR = "you do not have access to this alias and actor"
NO_ACTOR = "you do not have access to this actor"
NO_TARGET = "ou do not have UPDATE access to the actor you want to associate with this alias"
CYCLE = "this update would result in a cycle of linked actors"
HALTED = "Issued force quit command for execution"

#: value of a secret config
SECRET = "my_secret_value_7f2c"
