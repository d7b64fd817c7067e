"""What the platform answers when a request is refused (servicenow-api.md 1.8), as an exception for every layer."""


class Refused(Exception):
    """A request that ends with `{"error":{"message","detail"},"status":"failure"}`."""

    def __init__(
        self, status: int, message: str, detail: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(f"{status} {message}: {detail}")
        self.headers = headers
        self.status = status
        self.message = message
        self.detail = detail


def invalid_table(name: str) -> Refused:
    return Refused(400, f"Invalid table {name}")


def no_record() -> Refused:
    return Refused(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def not_authenticated() -> Refused:
    return Refused(401, "User Not Authenticated", "Required to provide Auth information")


def no_such_resource() -> Refused:
    return Refused(400, "Requested URI does not represent any resource")


def view_is_read_only(status: int, word: str) -> Refused:
    """A write to a database view. That it is refused is documented (KB0534905), the words are an assumption."""
    return Refused(status, "Operation Failed", f"ACL Exception {word} Failed due to security constraints")


def failed(detail: str) -> Refused:
    return Refused(403, "Operation Failed", detail)
