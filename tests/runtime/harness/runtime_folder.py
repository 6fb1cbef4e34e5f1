"""What Lambda's Python runtime brings beside the artifact: boto3, and the runtime itself.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
"""

from importlib.metadata import distribution
from pathlib import Path

# boto3 and what it needs, and the runtime interface client and what that needs.
PACKAGES = (
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "python-dateutil",
    "six",
    "urllib3",
    "awslambdaric",
    "simplejson",
    "snapshot-restore-py",
)


def make(folder: Path) -> None:
    """Make a folder in which these packages, as they are installed here, and no others are found.

    By links to their top-level entries, so that it costs nothing.
    """
    folder.mkdir()
    for name in PACKAGES:
        files = distribution(name).files or []
        tops = {path.parts[0] for path in files} - {"..", "__pycache__"}
        for top in tops:
            (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
