"""AWS's list prices, with the day and the page that each was read from. No free tier, no taxes.

us-east-1, in US dollars. AWS's price pages fill their tables in by script, so the figures were
read from stored copies of those pages and of AWS's documentation, and checked against what others
print of them; before money is spent on them, look at the page itself.
"""

from dataclasses import dataclass

REGION = "us-east-1"
READ_ON = "2026-11-25"
MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """What one unit costs.

    Attributes
    ----------
    usd : float
        For so many units as `per` says.
    unit : str
        What is counted: "requests", "GB-seconds", …
    source : str
        The page.
    """

    service: str
    usd: float
    per: int
    unit: str
    source: str

    def of(self, units: float) -> float:
        """What so many units cost, in dollars."""
        return self.usd * units / self.per


_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_SECRETS = "https://aws.amazon.com/secrets-manager/pricing/"
_API = (
    "https://docs.aws.amazon.com/whitepapers/latest/"
    "best-practices-api-gateway-private-apis-integration/cost-optimization.html"
)

PRICES: dict[str, Price] = {
    "lambda requests": Price("Lambda", 0.20, MILLION, "requests", _LAMBDA),
    "lambda time": Price("Lambda", 0.0000166667, 1, "GB-seconds, x86", _LAMBDA),
    "api": Price("API Gateway", 3.50, MILLION, "REST requests, first 333 million", _API),
    "sqs": Price("SQS", 0.40, MILLION, "requests, standard", "https://aws.amazon.com/sqs/pricing/"),
    "ses": Price("SES", 0.10, 1000, "mails", "https://aws.amazon.com/ses/pricing/"),
    "dynamodb writes": Price("DynamoDB", 0.625, MILLION, "write units, 1 KB", _DYNAMODB),
    "dynamodb reads": Price("DynamoDB", 0.125, MILLION, "read units, 4 KB", _DYNAMODB),
    "dynamodb storage": Price("DynamoDB", 0.25, 1, "GB-months", _DYNAMODB),
    "dynamodb backup": Price("DynamoDB", 0.20, 1, "GB-months, point in time", _DYNAMODB),
    "logs": Price("CloudWatch", 0.50, 1, "GB taken in", _CLOUDWATCH),
    "metrics": Price("CloudWatch", 0.30, 1, "metrics a month, first 10,000", _CLOUDWATCH),
    "alarms": Price("CloudWatch", 0.10, 1, "alarms a month", _CLOUDWATCH),
    "dashboards": Price("CloudWatch", 3.00, 1, "dashboards a month", _CLOUDWATCH),
    "secrets": Price("Secrets Manager", 0.40, 1, "secrets a month", _SECRETS),
    "secret reads": Price("Secrets Manager", 0.05, 10_000, "requests", _SECRETS),
    "ssm": Price(
        "SSM",
        0.0,
        MILLION,
        "requests, standard parameters",
        "https://aws.amazon.com/systems-manager/pricing/",
    ),
    "events": Price(
        "EventBridge",
        0.0,
        MILLION,
        "runs of a schedule's rule",
        "https://aws.amazon.com/eventbridge/pricing/",
    ),
    "notifications": Price(
        "SNS", 0.0, MILLION, "deliveries to Lambda", "https://aws.amazon.com/sns/pricing/"
    ),
    "data out": Price(
        "Data transfer",
        0.09,
        1,
        "GB to the internet, first 10 TB",
        "https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer",
    ),
}
# CouchDB runs on machines of yours, not of this project; these are for a guess at them.
MACHINE_HOUR = Price(
    "EC2", 0.192, 1, "hours of m6i.xlarge", "https://aws.amazon.com/ec2/pricing/on-demand/"
)
DISK = Price("EBS", 0.08, 1, "GB-months of gp3", "https://aws.amazon.com/ebs/pricing/")
