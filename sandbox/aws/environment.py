"""What MiniStack has to find in its environment before it is imported."""

import logging
import os

ACCOUNT = "123456789012"
REGION = "us-east-1"
# MiniStack takes the account's number for the key of its root user, whose signature it accepts.
ACCESS_KEY_ID = ACCOUNT
SECRET_ACCESS_KEY = "sandbox"

_KEPT = {"HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR"}


def prepare(port: int) -> None:
    """Set the environment for MiniStack on `port` of 127.0.0.1, with IAM enforced.

    Functions inherit this process's environment, so what the caller's shell would tell an SDK,
    Powertools or Python is taken out: as on AWS, nothing but the template configures them.
    """
    for name in os.environ.keys() - _KEPT:
        del os.environ[name]
    os.environ |= {
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",  # at INFO it prints the beginning of every SNS message
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "TZ": "UTC",
    }
    # It warns on import that KMS cannot sign; nobody here asks it to.
    logging.getLogger("kms").setLevel(logging.ERROR)


def forget_own_log_level() -> None:
    """Take MiniStack's log level out again once it is imported: functions would inherit it."""
    os.environ.pop("LOG_LEVEL", None)
